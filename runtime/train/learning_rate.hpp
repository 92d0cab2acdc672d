#pragma once

#include <cstdint>
#include <string_view>

namespace millrace::train {

/// How the learning rate goes after its warm-up.
enum class decay { constant, linear, cosine, wsd };

/// How the learning rate falls at the end of `decay::wsd`.
enum class wsd_form { linear, cosine, sqrt };

/// "constant", "linear", "cosine", "wsd". @throws std::invalid_argument for another word
decay decay_named(std::string_view name);

/// "linear", "cosine", "sqrt". @throws std::invalid_argument for another word
wsd_form wsd_form_named(std::string_view name);

struct learning_rate_options {
  double lr = 1e-6;
  std::int64_t warmup_steps = 0; ///< linear from lr / (warmup + 1)
  decay schedule = decay::constant;
  std::int64_t total_steps = 0;     ///< where decay ends, warm-up included; > warmup_steps unless constant
  double final_lr_fraction = 0;     ///< of lr, at total_steps and after, in [0, 1]
  double stable_share = 0.8;        ///< wsd: of the steps after the warm-up, in [0, 1], at lr
  wsd_form form = wsd_form::linear; ///< wsd
};

/// Learning rate of step `s`, counted from 0: a training step, all of whose optimizer updates have it. With W warm-up
/// steps, T in all, f the final fraction:
///
///     s < W      lr (s + 1) / (W + 1)
///     constant   lr
///     else       lr (f + (1 - f) left(g)),  g = min(1, (s - W) / (T - W))
///     linear     left(g) = 1 - g
///     cosine     left(g) = (1 + cos(pi g)) / 2
///     wsd        left(g) = 1 for g <= stable, else with h = (g - stable) / (1 - stable):
///                1 - h (linear), (1 + cos(pi h)) / 2 (cosine), 1 - sqrt(h) (sqrt)
///
/// Source: cosine: Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts; wsd: Hu et al. 2024, MiniCPM,
/// arXiv:2404.06395, section 4; sqrt: Hagele et al. 2024, arXiv:2405.18392, section 3.
/// Differs from transformers in: the first step of a warm-up moves (there its rate is 0); wsd takes a share of the
/// steps where transformers takes counts.
double learning_rate(const learning_rate_options& options, std::int64_t s);

} // namespace millrace::train
