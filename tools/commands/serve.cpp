#include "runtime/access/web_gate.hpp"
#include "runtime/endpoint/generation.hpp"
#include "runtime/endpoint/model_server.hpp"
#include "runtime/model/chat_tokens.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"
#include "tools/commands/end_signals.hpp"
#include "tools/commands/inference_model.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <ctime>
#include <memory>

namespace millrace::tools {
namespace {

struct serve_arguments {
  std::string model, name, listen = "127.0.0.1:8000";
  std::filesystem::path token_file;
  std::int64_t max_context = 0, waiting = 1024;
  std::int32_t slots = 32;
  inference_options how;
};

/// The name of a folder, or of a file without its ending.
std::string name_of(const std::filesystem::path& model) {
  const auto path = std::filesystem::absolute(model).lexically_normal();
  const auto last = path.has_filename() ? path : path.parent_path();
  return std::filesystem::is_directory(last) ? last.filename().string() : last.stem().string();
}

listen_address address_of(const serve_arguments& given) {
  const auto at = parse_listen_address(given.listen);
  if (!at)
    throw input_error("--listen: found '" + given.listen
                      + "', want an address of this host and a port: 127.0.0.1:8000");
  if (!at->is_loopback() && given.token_file.empty())
    throw input_error("--listen " + given.listen
                      + ": others can reach that address, want --token-file too, or 127.0.0.1");
  return *at;
}

endpoint::served_model served(const serve_arguments& given, const inference_model& model, std::int64_t max_context) {
  const auto& about = model.about;
  const auto name = given.name.empty() ? name_of(given.model) : given.name;
  return {
      .defaults = {.model = name,
                   .temperature = about.generation.temperature.or_else(1),
                   .top_p = about.generation.top_p.or_else(1),
                   .top_k = static_cast<int>(about.generation.top_k.or_else(0)),
                   .end_tokens = about.config.eos_ids,
                   .max_context = max_context,
                   .chat = about.chat},
      .name = name,
      .tok = about.tok,
      .encode_chat = [&about](const auto& turns, const auto& tools) { return model::encode_chat(about, turns, tools); },
      .vocabulary = about.config.vocab_size,
      .created = std::time(nullptr)};
}

int run_serve(const serve_arguments& given) {
  const auto at = address_of(given);
  const auto token = given.token_file.empty() ? std::string() : access::read_token(given.token_file);
  const end_signals ends;
  const auto model = load_inference_model(given.model, given.how);
  rollout::engine engine(model.policy, model.about.tok, 0,
                         {.slots = given.slots, .max_context = given.max_context, .threads = given.how.threads});
  auto what = served(given, model, engine.max_context());
  endpoint::generation generation(std::move(engine), static_cast<std::size_t>(given.waiting));
  const endpoint::model_server server({.at = at, .token = token}, std::move(what), generation.clients());
  std::printf("%s serves %s\n", server.url().c_str(), server.model().c_str());
  std::fflush(stdout);
  ends.wait();
  return 0;
}

} // namespace

command serve_command() {
  const auto given = std::make_shared<serve_arguments>();
  std::vector<argument> arguments{
      {.name = "model", .to = &given->model, .help = "Hugging Face folder or .gguf file", .required = true},
      {.name = "--listen",
       .to = &given->listen,
       .help = "ADDRESS:PORT; port 0: one that is free",
       .shows_default = true},
      {.name = "--token-file", .to = &given->token_file, .help = "File with the token that clients show as Bearer"},
      {.name = "--name", .to = &given->name, .help = "The model's name for clients [its folder's or file's]"},
      {.name = "--slots",
       .to = &given->slots,
       .help = "Answers decoded together",
       .shows_default = true,
       .numbers = sign::positive},
      {.name = "--waiting",
       .to = &given->waiting,
       .help = "Answers that may wait for a slot; more are told to come again (429)",
       .shows_default = true,
       .numbers = sign::positive},
      {.name = "--max-context",
       .to = &given->max_context,
       .help = "Tokens of prompt and answer; 0 = the model's",
       .shows_default = true,
       .numbers = sign::not_negative}};
  const auto more = model_arguments(given->how);
  arguments.insert(arguments.end(), more.begin(), more.end());
  return {.name = "serve",
          .help = "Serves a model over HTTP as OpenAI's API does, until Ctrl-C",
          .footer =
              "Prints the URL once it listens. Routes: /v1/models, /v1/chat/completions, /v1/completions, /health.",
          .arguments = std::move(arguments),
          .run = [given] { return run_serve(*given); }};
}

} // namespace millrace::tools
