#include "train/tensorboard.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>

#include "base/error.h"
#include "base/file.h"

namespace spatialmamba::train {
namespace {

static_assert(std::endian::native == std::endian::little, "records are written as they lie in memory");

// Field numbers of TensorFlow's event.proto and summary.proto.
namespace field {
constexpr int kEventWallTime = 1;
constexpr int kEventStep = 2;
constexpr int kEventFileVersion = 3;
constexpr int kEventSummary = 5;
constexpr int kEventSessionLog = 7;
constexpr int kSessionLogStatus = 1;
constexpr int kSummaryValue = 1;
constexpr int kValueTag = 1;
constexpr int kValueSimpleValue = 2;
}  // namespace field

constexpr std::uint64_t kSessionStart = 1;
constexpr const char* kFileVersion = "brain.Event:2";

enum class WireType { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  constexpr std::uint32_t kPolynomial = 0x82F63B78U;  // bits reversed
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1U) != 0 ? kPolynomial : 0U);
    table[i] = value;
  }
  return table;
}

/// TFRecord's: a CRC of data that holds its own CRC would be degenerate.
std::uint32_t masked_crc(std::string_view bytes) {
  constexpr std::uint32_t kMaskDelta = 0xA282EAD8U;
  return std::rotr(crc32c(bytes), 15) + kMaskDelta;
}

template <typename T>
void append_raw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void append_key(std::string& out, int number, WireType type) {
  append_varint(out, static_cast<std::uint64_t>(number) << 3 | static_cast<std::uint64_t>(type));
}

void append_bytes(std::string& out, int number, std::string_view bytes) {
  append_key(out, number, WireType::bytes);
  append_varint(out, bytes.size());
  out.append(bytes);
}

void append_integer(std::string& out, int number, std::uint64_t value) {
  append_key(out, number, WireType::varint);
  append_varint(out, value);
}

std::string begin_event(std::int64_t step) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::string event;
  append_key(event, field::kEventWallTime, WireType::fixed64);
  append_raw(event, std::chrono::duration<double>(now).count());
  append_integer(event, field::kEventStep, static_cast<std::uint64_t>(step));
  return event;
}

std::string scalar_value(const Scalar& scalar) {
  std::string value;
  append_bytes(value, field::kValueTag, scalar.tag);
  append_key(value, field::kValueSimpleValue, WireType::fixed32);
  append_raw(value, scalar.value);
  return value;
}

/// TensorBoard sorts by name what one folder holds, so the start time comes first.
std::filesystem::path free_name(const std::filesystem::path& folder) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  for (int i = 0;; ++i) {
    std::filesystem::path path =
        folder / fmt::format("events.out.tfevents.{:010}.{}.{}", seconds, ::getpid(), i);
    if (!std::filesystem::exists(path)) return path;
  }
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = make_crc_table();
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<std::uint8_t>(byte)) & 0xFFU];
  return ~crc;
}

TensorBoardLog::TensorBoardLog(const std::filesystem::path& folder, std::int64_t first_step) {
  make_folder(folder);
  path_ = free_name(folder);
  file_.open(path_, std::ios::binary);
  std::string version = begin_event(0);
  append_bytes(version, field::kEventFileVersion, kFileVersion);
  write_event(version);
  if (first_step > 0) {
    std::string status;
    append_integer(status, field::kSessionLogStatus, kSessionStart);
    std::string restart = begin_event(first_step);
    append_bytes(restart, field::kEventSessionLog, status);
    write_event(restart);
  }
}

void TensorBoardLog::write(std::int64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars) append_bytes(summary, field::kSummaryValue, scalar_value(scalar));
  std::string event = begin_event(step);
  append_bytes(event, field::kEventSummary, summary);
  write_event(event);
}

void TensorBoardLog::write_event(const std::string& event) {
  std::string record;
  append_raw(record, static_cast<std::uint64_t>(event.size()));
  append_raw(record, masked_crc(record));
  record += event;
  append_raw(record, masked_crc(event));
  file_.write(record.data(), static_cast<std::streamsize>(record.size()));
  file_.flush();
  if (!file_) fail("{}: cannot write", path_.string());
}

}  // namespace spatialmamba::train
