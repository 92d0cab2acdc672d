#pragma once

#include "runtime/model/checkpoint.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/pipeline/reference_table.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace millrace::actors {

/// What a reference knows, with no actor in sight: the weights it scores with and the version it last followed. A copy is
/// cheap, shares the weights, and goes its own way from there.
///
///     refresh_every = k: the policy's weights of the newest version that is a multiple of k or beyond the next one
///     ema = d:           w = d^n w + (1 - d^n) policy, n the versions since the last
class reference_weights {
public:
  /// @param loaded its weights are the reference's first
  /// @param device where it scores
  reference_weights(pipeline::reference_table table, model::checkpoint loaded, double temperature, int threads, at::Device device = at::kCPU);

  /// log p of every answer token, [sum of lengths], at the temperature the answers were sampled at.
  std::vector<float> logprobs(std::span<const std::int32_t> prompt, std::span<const std::vector<std::int32_t>> answers) const;

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
  model::checkpoint model_; ///< with the weights of now
  std::shared_ptr<const model::decoder> decoder_;
  double temperature_;
  int threads_;
  at::Device device_;
  std::uint32_t version_ = 0;
};

} // namespace millrace::actors
