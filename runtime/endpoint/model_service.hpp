#pragma once

#include "runtime/endpoint/answering.hpp"
#include "runtime/openai/service.hpp"

#include <memory>

namespace millrace::endpoint {

/// A model that answers requests: `/v1/models`, `/v1/chat/completions`, `/v1/completions` and `/health`. The answers of
/// a client that goes away cost at most the step that is being computed.
class model_service final : public openai::service {
public:
  /// @param model, from outlive it
  model_service(const served_model& model, client_requests& from) : model_(model), from_(from) {}

  std::shared_ptr<void> answer(const openai::request& asked, openai::reply_way out) override;

private:
  const served_model& model_;
  client_requests& from_;
};

} // namespace millrace::endpoint
