#pragma once

#include "runtime/columns/column_set.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/model/segments.hpp"
#include "runtime/pipeline/pipeline.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace millrace::roles {

/// What a reference knows, without an actor: the weights it scores with and the version it last followed. A copy is
/// cheap: it shares the weights until it follows another version.
///
///     refresh_every = k: takes the policy's weights at every version that is a multiple of k, or at the first version
///                        after a multiple that it missed
///     ema = d:           w = d^n w + (1 - d^n) policy, n the versions since the last
class reference_core {
public:
  /// The role as the pipeline has it, with its model loaded. @throws input_error if that cannot be read
  /// @param role of kind "reference"
  static reference_core load(const pipeline::pipeline& p, const pipeline::role& role, int threads);

  /// @param loaded its weights are the reference's first
  /// @param device where it scores
  /// @param kept what it scores with; an average goes on in fp32 whatever it is
  reference_core(pipeline::reference_table table, model::checkpoint loaded, double temperature, int threads,
                 at::Device device = at::kCPU, precision kept = precision::float32);

  /// log p of every answer token, [sum of lengths], at the temperature the answers were sampled at;
  /// 0 where nothing predicts it: `model::by_segment`.
  std::vector<float> logprobs(std::span<const std::int32_t> prompt, std::span<const std::vector<std::int32_t>> answers,
                              const model::segment_begins& segments = {}) const;

  /// What it adds to a group: `ref_logprob`, with its origin if it follows the policy.
  /// @param columns `prompt_tokens`, `tokens`, `lengths`
  transport::bundle logprob_columns(const columns::column_set& columns) const;

  /// The version of the policy that they last took up; 0: they are as they began.
  std::uint32_t version() const { return version_; }

  /// Whether some version changes anything.
  bool follows() const { return table_.follows(); }

  /// Whether this version changes anything.
  bool wants(std::uint32_t version) const;

  /// RF-1. @param policy names and shapes as the reference's own
  void follow(std::uint32_t version, const model::weights& policy);

  /// Weights and version into `reference-<role>/` of a folder that is there. @throws input_error
  void write_checkpoint(const std::filesystem::path& folder, const std::string& role) const;

  /// What `write_checkpoint` wrote. @throws input_error
  void read_checkpoint(const std::filesystem::path& folder, const std::string& role);

private:
  void use(model::weights weights);

  pipeline::reference_table table_;
  model::checkpoint model_; ///< with the weights of now where it follows the policy
  std::shared_ptr<const model::decoder> decoder_;
  double temperature_;
  int threads_;
  at::Device device_;
  precision kept_;
  std::uint32_t version_ = 0;
};

} // namespace millrace::roles
