#include "runtime/endpoint/model_service.hpp"

#include <string>
#include <utility>

namespace millrace::endpoint {

std::shared_ptr<void> model_service::answer(const openai::request& asked, openai::reply_way out) {
  const auto path = asked.path;
  const bool get = asked.method == "GET";
  const bool generates = path == "/v1/chat/completions" || path == "/v1/completions";
  if (generates && !get) {
    auto read = openai::read_completion_request(asked.body, path.starts_with("/v1/chat"), model_.defaults);
    auto answer = std::make_shared<answering>(model_, from_, std::move(read), std::move(out));
    answer->begin();
    return answer;
  }
  if (generates || (!get && (path == "/health" || path.starts_with("/v1/models"))))
    throw openai::request_error(405, "want " + std::string(generates ? "POST " : "GET ") + std::string(path));
  if (path == "/health")
    out.whole(openai::health_text);
  else if (path == "/v1/models")
    out.whole(openai::models_text(model_.name, model_.defaults.max_context, model_.created));
  else if (path == "/v1/models/" + model_.name)
    out.whole(openai::model_text(model_.name, model_.defaults.max_context, model_.created));
  else
    throw openai::request_error(404, "want /v1/chat/completions, /v1/completions, /v1/models or /health");
  return nullptr;
}

} // namespace millrace::endpoint
