#include "runtime/environments/endpoint_environment.hpp"

namespace millrace::environments {

extern const environment_type endpoint;

namespace {

std::unique_ptr<environment> make_endpoint(const option_values& given) {
  const auto& serve = std::get<std::string>(given.at("serve"));
  const auto at = parse_listen_address(serve);
  if (!at)
    throw input_error("serve: found '" + serve + "', want an address of this host and a port: 127.0.0.1:8000");
  const auto file = given.find("token_file");
  const auto token_file = file == given.end() ? std::string() : std::get<std::string>(file->second);
  if (!at->is_loopback() && token_file.empty())
    throw input_error("serve: found '" + serve + "', which others can reach, want token_file too, or 127.0.0.1");
  return std::make_unique<endpoint_environment>(endpoint_settings{
      .at = *at,
      .token_file = token_file,
      .sessions = {.deadline = std::chrono::milliseconds(std::get<std::int64_t>(given.at("deadline_ms")))}});
}

} // namespace

const environment_type endpoint{
    .name = "endpoint",
    .meaning =
        "agents of yours that ask for chat completions as they ask OpenAI: each episode is a client's conversation",
    .options = {{.name = "serve",
                 .fallback = std::string("127.0.0.1:8000"),
                 .allowed = any(),
                 .meaning = "the address that it listens on; port 0: one that is free, and the log says which"},
                {.name = "token_file",
                 .fallback = std::string(),
                 .meaning =
                     "file with the token that clients show as Bearer; an address that others can reach needs it",
                 .optional = true,
                 .path = true},
                {.name = "deadline_ms",
                 .fallback = std::int64_t{600'000},
                 .allowed = between(1, 86'400'000),
                 .meaning = "milliseconds for a client to take an episode, and for what it says to a turn; later = the "
                            "group begins anew"}},
    .make = make_endpoint,
    .clients = true,
    .rewrites = true};

} // namespace millrace::environments
