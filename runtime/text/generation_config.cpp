#include "runtime/text/generation_config.hpp"

#include "runtime/formats/json_fields.hpp"
#include "runtime/formats/strict_json.hpp"

#include <nlohmann/json.hpp>

#include <limits>

namespace millrace::text {

using json = nlohmann::json;

namespace {

/// What `read` returns, or its refusal kept for who asks.
template <class T, class Read>
recommended<T> kept(const Read& read) {
  try {
    const std::optional<T> found = read();
    return found ? recommended<T>(*found) : recommended<T>();
  } catch (const input_error& error) {
    return recommended<T>::refused(error.what());
  }
}

recommended<double> temperature_of(const formats::json_fields& in) {
  return kept<double>([&]() -> std::optional<double> {
    if (!in.flag("do_sample").value_or(true))
      return 0;
    const auto found = in.number("temperature");
    if (found && *found < 0)
      in.refuse("temperature", "a number >= 0");
    return found;
  });
}

recommended<double> top_p_of(const formats::json_fields& in) {
  return kept<double>([&] {
    const auto found = in.number("top_p");
    if (found && (*found <= 0 || *found > 1))
      in.refuse("top_p", "a number in (0, 1]");
    return found;
  });
}

} // namespace

generation_defaults read_generation_config(const std::filesystem::path& path) {
  const json document = formats::read_json(path);
  const formats::json_fields in(document, path.string());
  generation_defaults out;
  out.temperature = temperature_of(in);
  out.top_p = top_p_of(in);
  out.top_k = kept<std::int64_t>([&] { return in.integer("top_k", 0, std::numeric_limits<std::int32_t>::max()); });
  out.eos_ids = in.token_ids("eos_token_id");
  out.bos_id = in.token_id("bos_token_id");
  out.pad_id = in.token_id("pad_token_id");
  return out;
}

std::string generation_config_text(const generation_defaults& defaults) {
  json out = json::object();
  const auto put = [&](const char* key, const auto& value) {
    if (value)
      out[key] = *value;
  };
  const auto &temperature = defaults.temperature.usable(), &top_p = defaults.top_p.usable();
  const auto& top_k = defaults.top_k.usable();
  put("temperature", temperature);
  put("top_p", top_p);
  put("top_k", top_k);
  // transformers refuses sampling settings beside greedy decoding.
  if (temperature || top_p || top_k)
    out["do_sample"] = temperature.value_or(1) > 0;
  put("bos_token_id", defaults.bos_id);
  put("pad_token_id", defaults.pad_id);
  if (defaults.eos_ids.size() == 1)
    out["eos_token_id"] = defaults.eos_ids.front();
  else if (!defaults.eos_ids.empty())
    out["eos_token_id"] = defaults.eos_ids;
  return out.dump(2) + "\n";
}

} // namespace millrace::text
