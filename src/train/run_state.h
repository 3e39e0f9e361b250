#pragma once

#include <exception>
#include <filesystem>
#include <map>
#include <string>

#include "spatialmamba/weights.h"
#include "train/parameter_groups.h"
#include "train/run_conduct.h"
#include "train/updater.h"

namespace spatialmamba::train {

/// Writes what a run under way is made of, whatever the task, into one .safetensors file, atomically: the
/// tensors of the model, of its moving average (may be none), and the optimizer's moments. They are called
/// `model/NAME`, `model_ema/NAME`, `exp_avg/NAME`, `exp_avg_sq/NAME`; everything else is metadata, among it
/// the loss scale and the tensors' checksums.
void save_run_state(const std::filesystem::path& path, const Updater& updater,
                    const std::map<std::string, std::string>& metadata);

/// Gives `updater` what such a file holds. Throws Error naming file and tensor, before anything is changed,
/// also where a checksum does not match.
void load_run_state(const std::filesystem::path& path, Updater& updater);

/// An entry of such a file's metadata; throws Error when there is none.
const std::string& run_metadata(const Weights& file, const std::filesystem::path& path, const char* key);

/// What a run was started with, as two entries of the metadata.
void note_identity(std::map<std::string, std::string>& metadata, const RunIdentity& identity);
/// Throws Error naming the file when there are none.
RunIdentity saved_identity(const Weights& file, const std::filesystem::path& path);

/// Metadata that are there but hold something else.
[[noreturn]] void fail_unreadable_record(const std::filesystem::path& path, const std::exception& cause);

/// Writes a plain weights file, atomically.
void export_state(const std::filesystem::path& path, const NamedTensors& state,
                  const std::map<std::string, std::string>& metadata);

/// What --finetune names, whose checksums hold.
Weights read_start(const RunOptions& options);

/// Copies such a file's tensors into `state`, whose names and shapes they must have. Throws Error naming the
/// file.
void load_state_file(const std::filesystem::path& path, const NamedTensors& state);

}  // namespace spatialmamba::train
