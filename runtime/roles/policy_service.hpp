#pragma once

#include "runtime/access/web_gate.hpp"
#include "runtime/endpoint/model_server.hpp"
#include "runtime/model/chat_tokens.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/rollout_table.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/listen_address.hpp"
#include "runtime/words/role_instance.hpp"

#include <algorithm>
#include <ctime>
#include <memory>
#include <string>

namespace millrace::roles {

/// Serves a rollout's policy to clients beside the run: at the table's address, or as many ports above as the process
/// has others before it.
/// @param words of the policy; they outlive it  @param max_context tokens of prompt and answer
/// @returns nullptr where the table names no address
/// @throws input_error if the port cannot be had or the token not be read
inline std::unique_ptr<endpoint::model_server> policy_service(const role_instance& who,
                                                              const pipeline::rollout_table& table,
                                                              const model::checkpoint& words, std::int64_t max_context,
                                                              endpoint::client_requests& from) {
  if (table.serve.empty())
    return nullptr;
  openai::server_options options{.at = parse_listen_address(table.serve).value()};
  if (options.at.port > 0)
    options.at.port = static_cast<std::uint16_t>(options.at.port + who.index);
  if (!table.token_file.empty())
    options.token = access::read_token(table.token_file);
  auto service = std::make_unique<endpoint::model_server>(
      std::move(options),
      endpoint::served_model{
          .defaults = {.model = "",
                       .temperature = table.temperature,
                       .top_p = table.top_p,
                       .top_k = static_cast<int>(table.top_k),
                       .end_tokens = words.config.eos_ids,
                       .max_context = max_context,
                       .most_answers = static_cast<int>(table.serve_slots),
                       .chat = words.chat},
          .name = table.model,
          .tok = words.tok,
          .encode_chat = [&words](const auto& turns,
                                  const auto& tools) { return model::encode_chat(words, turns, tools); },
          .vocabulary = words.config.vocab_size,
          .created = std::time(nullptr)},
      from);
  telemetry::log_info(who.name(), "clients may ask its policy at " + service->url() + "/v1");
  return service;
}

} // namespace millrace::roles
