#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "distributed/group.h"
#include "train/evaluation_share.h"
#include "train/recipe.h"
#include "train/trainer.h"

namespace spatialmamba::train {

/// How the images of an update are divided among replicas, and these among processes.
struct Cut {
  std::int64_t batch = 0;  ///< images of one pass of one replica
  std::int64_t replicas = 1;
};

/// The recipe's batch and replicas where each process gets one or more of them. For more processes than
/// replicas, and to be normalised together, the images are cut anew, one replica for each process. Throws
/// UsageError where they cannot be.
Cut cut_update(const Recipe& recipe, std::int64_t processes);

/// The images of one pass that one replica learns from: its part of a batch that all of them share.
struct ReplicaShare {
  std::int64_t replica = 0;
  Cut cut;

  /// Of all replicas together.
  std::int64_t images() const { return cut.batch * cut.replicas; }
  /// Of an epoch over so many pictures, whose last images are left out when they fill no batch. Throws
  /// UsageError for fewer than one batch that replicas are to share.
  std::int64_t batches(std::int64_t pictures) const;
};

/// Those of this process.
std::vector<ReplicaShare> own_shares(const Cut& cut, const RunOptions& options);

/// What a run begins with.
struct RunStart {
  Recipe recipe;  ///< with its number of replicas: that of the run where it goes on, else one a process
  bool resumes = false;
};

/// Refuses or accepts the output folder by what it holds. All processes get the same.
RunStart start_run(const Recipe& recipe, const RunOptions& options);

/// Makes every BatchNorm normalise by the images of all processes.
void synchronise_batch_norm(const torch::nn::Module& model, const std::shared_ptr<distributed::Group>& group);

/// The processes of a run as they share evaluations.
EvaluationShare evaluation_share(const RunOptions& options);

}  // namespace spatialmamba::train
