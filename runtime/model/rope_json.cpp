#include "runtime/model/rope_json.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>

namespace millrace::model {
namespace {

using json = nlohmann::json;

constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();

/// What YaRN multiplies attention by for a stretch of `factor`.
double yarn_attention(double factor, double scale) {
  return factor <= 1 ? 1 : 0.1 * scale * std::log(factor) + 1;
}

void read_llama3(const formats::json_fields& in, rope_scaling& out) {
  out.low_freq_factor = in.required("low_freq_factor", in.number("low_freq_factor"), "a number > 0");
  out.high_freq_factor = in.required("high_freq_factor", in.number("high_freq_factor"), "a number > low_freq_factor");
}

void read_yarn(const formats::json_fields& in, rope_scaling& out) {
  const auto or_default = [&](const char* key, double otherwise) {
    const double found = in.number(key).value_or(0);
    return found == 0 ? otherwise : found; // transformers takes 0 for silence
  };
  out.beta_fast = or_default("beta_fast", 32);
  out.beta_slow = or_default("beta_slow", 1);
  out.truncate = in.flag("truncate").value_or(true);
  const double whole = or_default("mscale", 0), part = or_default("mscale_all_dim", 0);
  const double inferred = whole != 0 && part != 0 ? yarn_attention(out.factor, whole) / yarn_attention(out.factor, part)
                                                  : yarn_attention(out.factor, 1);
  out.attention_factor = in.number("attention_factor").value_or(inferred);
}

/// @param outer config.json's fields, of which `table` is one
rope_scaling read_scaling(const formats::json_fields& outer, const formats::json_fields& in,
                          std::int64_t max_positions) {
  rope_scaling out;
  for (const char* key : {"full_attention", "sliding_attention"})
    if (in.has(key))
      in.refuse(key, "one set of rotary settings for all layers");
  const char* key = in.has("rope_type") ? "rope_type" : "type";
  const std::string type = in.text(key).value_or("default");
  if (in.number("partial_rotary_factor").value_or(1) != 1)
    in.refuse("partial_rotary_factor", "1 (every dimension of a head is rotated)");
  if (type == "default")
    return out;
  if (type != "linear" && type != "llama3" && type != "yarn")
    in.refuse(key, "default, linear, llama3 or yarn");
  out.factor = in.required("factor", in.number("factor"), "a number > 0");
  out.type = rope_scaling::kind::linear;
  if (type == "linear")
    return out;
  // transformers lets the model's own key go before the table's.
  const char* context = "original_max_position_embeddings";
  const auto own = outer.integer(context, 1, most);
  out.original_context = own ? *own : in.integer(context, 1, most).value_or(max_positions);
  out.type = type == "yarn" ? rope_scaling::kind::yarn : rope_scaling::kind::llama3;
  if (type == "yarn")
    read_yarn(in, out);
  else
    read_llama3(in, out);
  return out;
}

rope_settings read_table(const formats::json_fields& outer, const formats::json_fields& table,
                         std::int64_t max_positions) {
  const auto theta = table.number("rope_theta");
  return {theta ? *theta : outer.number("rope_theta").value_or(10000), read_scaling(outer, table, max_positions)};
}

} // namespace

rope_settings read_rope_settings(const formats::json_fields& in, std::int64_t max_positions) {
  const auto filled = [&](const char* key) {
    auto table = in.object(key);
    return table && table->size() > 0 ? table : std::nullopt;
  };
  const auto parameters = filled("rope_parameters"), scaling = filled("rope_scaling");
  const auto& table = scaling ? scaling : parameters;
  if (!table)
    return {in.number("rope_theta").value_or(10000), {}};
  const rope_settings found = read_table(in, *table, max_positions);
  if (scaling && parameters && found != read_table(in, *parameters, max_positions))
    in.refuse("rope_scaling", "what rope_parameters beside it says, or one of the two alone");
  if (const auto theta = in.number("rope_theta"); theta && *theta != found.theta)
    in.refuse("rope_theta", std::string("that of ") + (scaling ? "rope_scaling" : "rope_parameters") + " beside it ("
                                + json(found.theta).dump() + "), or one of the two alone");
  return found;
}

json rope_scaling_json(const rope_scaling& s) {
  switch (s.type) {
  case rope_scaling::kind::none:
    break;
  case rope_scaling::kind::linear:
    return {{"rope_type", "linear"}, {"factor", s.factor}};
  case rope_scaling::kind::llama3:
    return {{"rope_type", "llama3"},
            {"factor", s.factor},
            {"low_freq_factor", s.low_freq_factor},
            {"high_freq_factor", s.high_freq_factor},
            {"original_max_position_embeddings", s.original_context}};
  case rope_scaling::kind::yarn:
    return {{"rope_type", "yarn"},
            {"factor", s.factor},
            {"original_max_position_embeddings", s.original_context},
            {"beta_fast", s.beta_fast},
            {"beta_slow", s.beta_slow},
            {"truncate", s.truncate},
            {"attention_factor", s.attention_factor}};
  }
  return nullptr;
}

} // namespace millrace::model
