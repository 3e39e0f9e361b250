#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace spatialmamba::train {

/// How much the images of each class count in the loss: all the same, the more the rarer they are, or as
/// listed.
struct ClassWeights {
  bool balanced = false;
  std::vector<double> listed;  ///< empty: not listed
};

/// Everything that decides what a training run computes, in the sections of a recipe file. Meaning, range and
/// default of every key stand in one table (recipe_keys()); the initial values here are those defaults.
struct Recipe {
  struct Model {
    std::string task = "classification";
    std::string variant = "micro";
    std::vector<std::int64_t> dims;
    std::vector<std::int64_t> depths;
    std::optional<double> drop_path;
    std::string fusion = "full";
    std::string scan = "row";
    bool checkpoint_blocks = false;
  } model;

  struct Data {
    std::vector<std::int64_t> size = {224};
    std::int64_t channels = 3;
    std::vector<double> mean = {0.485, 0.456, 0.406};
    std::vector<double> std = {0.229, 0.224, 0.225};
    std::string interpolation = "bicubic";
    double eval_crop = 0.875;
    std::int64_t workers = 2;
    bool cache = false;
    bool balance = false;
    std::int64_t shuffle_buffer = 5000;
  } data;

  struct Augment {
    std::string crop = "random_resized";
    std::int64_t padding = 0;
    std::vector<double> area = {0.08, 1.0};
    std::vector<double> ratio = {0.75, 4.0 / 3.0};
    double flip = 0.5;
    std::int64_t rand_layers = 0;
    double rand_magnitude = 9.0;
    double rand_deviation = 0.5;
    double rand_probability = 0.5;
    double brightness = 0.0;
    double contrast = 0.0;
    double saturation = 0.0;
    double erasing = 0.25;
    std::vector<double> erasing_area = {0.02, 1.0 / 3.0};
    double mixup = 0.8;
    double cutmix = 1.0;
    double mix_probability = 1.0;
    double cutmix_share = 0.5;
    double label_smoothing = 0.1;
  } augment;

  struct Segmentation {
    std::int64_t channels = 512;
    std::int64_t auxiliary_channels = 256;
    double auxiliary_weight = 0.4;
    double dropout = 0.1;
    std::string zero_label = "unlabelled";
    std::vector<std::int64_t> fit = {2048, 512};
    std::vector<double> ratio = {0.5, 2.0};
    std::int64_t crop = 512;
    double cat_max_ratio = 0.75;
    bool photometric = true;
  } segmentation;

  struct Detection {
    std::int64_t channels = 256;
    std::int64_t fc_channels = 1024;
    std::vector<std::int64_t> fit = {1333, 800};
    std::vector<std::int64_t> short_sides;
    std::vector<std::int64_t> crop_short_sides;
    std::vector<std::int64_t> crop = {384, 600};
    bool flip = true;
    std::int64_t least_side = 32;
    std::int64_t rpn_samples = 256;
    std::int64_t box_samples = 512;
  } detection;

  struct Train {
    std::int64_t epochs = 300;
    std::int64_t iterations = 160'000;
    std::int64_t batch = 128;
    std::int64_t accumulation = 1;
    std::int64_t replicas = 0;
    bool sync_batch_norm = false;
    std::uint64_t seed = 0;
    std::string device = "cpu";
    std::string operators = "fused";
    std::string precision = "fp32";
    double loss_scale = 65536.0;
    std::int64_t loss_scale_interval = 2000;
    double clip_norm = 5.0;
    bool ema = true;
    double ema_decay = 0.9999;
    std::optional<double> mesa;
    double mesa_start = 0.25;
    ClassWeights class_weights;
    std::int64_t frozen_stages = 0;
    std::int64_t patience = 0;
    double loss_limit = 1e4;
    std::int64_t bad_steps = 10;
  } train;

  struct Optimizer {
    double rate = 5e-4;
    double warmup_rate = 5e-7;
    double minimum_rate = 5e-6;
    std::int64_t rate_batch = 512;
    double warmup_epochs = 20;
    std::int64_t warmup_iterations = 1500;
    double warmup_factor = 1e-6;
    double power = 1.0;
    std::vector<std::int64_t> milestones;
    double weight_decay = 0.05;
    double layer_decay = 1.0;
    std::vector<double> betas = {0.9, 0.999};
    double epsilon = 1e-8;
  } optimizer;

  struct Output {
    std::int64_t evaluate_every = 1;
    std::int64_t evaluate_iterations = 16'000;
    std::int64_t keep_every = 0;
    double checkpoint_minutes = 30;
    std::int64_t log_every = 10;
  } output;
};

/// Reads a recipe file. `base: OTHER.yaml` at its top starts from another file (relative to this one). Throws
/// UsageError naming file and key: an unknown key (with the nearest known one), a wrong type, a value out of
/// range.
Recipe read_recipe(const std::filesystem::path& path);

/// The same from text; `source` names it in messages and `folder` is where `base` is looked for.
Recipe parse_recipe(const std::string& text, const std::string& source,
                    const std::filesystem::path& folder = ".");

/// "train.epochs=5". Throws UsageError as read_recipe() does.
void override_key(Recipe& recipe, const std::string& assignment);

/// Checks what no single key shows: lists of the wrong length, a minimum above its maximum. Throws
/// UsageError.
void validate(const Recipe& recipe);

/// A file that parse_recipe() reads back to the same recipe; with `help` each key is explained.
std::string to_yaml(const Recipe& recipe, bool help = false);

/// "train.epochs: 20 in the first, 30 in the second" for each key that decides the result and differs.
std::vector<std::string> differences(const Recipe& first, const Recipe& second);

/// train.replicas, or 1 where it has not been decided.
std::int64_t replicas_of(const Recipe& recipe);

/// Images of one update: batch * accumulation * replicas.
std::int64_t images_per_update(const Recipe& recipe);

/// Updates per learning rate: rate * images_per_update / rate_batch, or rate as it stands when rate_batch
/// is 0.
double scaled_rate(const Recipe& recipe, double rate);

}  // namespace spatialmamba::train
