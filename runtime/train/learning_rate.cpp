#include "runtime/train/learning_rate.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

namespace millrace::train {
namespace {

double cosine_left(double gone) {
  return (1 + std::cos(std::numbers::pi * gone)) / 2;
}

double wsd_left(const learning_rate_options& o, double gone) {
  if (gone <= o.stable_share)
    return 1;
  const double decayed = (gone - o.stable_share) / (1 - o.stable_share);
  switch (o.form) {
  case wsd_form::linear:
    return 1 - decayed;
  case wsd_form::cosine:
    return cosine_left(decayed);
  case wsd_form::sqrt:
    return 1 - std::sqrt(decayed);
  }
  return 1;
}

} // namespace

decay decay_named(std::string_view name) {
  if (name == "constant")
    return decay::constant;
  if (name == "linear")
    return decay::linear;
  if (name == "cosine")
    return decay::cosine;
  if (name == "wsd")
    return decay::wsd;
  throw std::invalid_argument("decay '" + std::string(name) + "': unknown, want constant, linear, cosine or wsd");
}

wsd_form wsd_form_named(std::string_view name) {
  if (name == "linear")
    return wsd_form::linear;
  if (name == "cosine")
    return wsd_form::cosine;
  if (name == "sqrt")
    return wsd_form::sqrt;
  throw std::invalid_argument("wsd_form '" + std::string(name) + "': unknown, want linear, cosine or sqrt");
}

double learning_rate(const learning_rate_options& o, std::int64_t s) {
  if (s < o.warmup_steps)
    return o.lr * static_cast<double>(s + 1) / static_cast<double>(o.warmup_steps + 1);
  if (o.schedule == decay::constant)
    return o.lr;
  const double gone =
      std::min(1.0, static_cast<double>(s - o.warmup_steps) / static_cast<double>(o.total_steps - o.warmup_steps));
  const double left = o.schedule == decay::linear   ? 1 - gone
                      : o.schedule == decay::cosine ? cosine_left(gone)
                                                    : wsd_left(o, gone);
  return o.lr * (o.final_lr_fraction + (1 - o.final_lr_fraction) * left);
}

} // namespace millrace::train
