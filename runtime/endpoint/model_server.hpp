#pragma once

#include "runtime/endpoint/answering.hpp"
#include "runtime/endpoint/client_requests.hpp"
#include "runtime/endpoint/model_service.hpp"
#include "runtime/openai/server.hpp"

#include <string>
#include <utility>

namespace millrace::endpoint {

/// A model behind a port.
class model_server {
public:
  /// Takes the port. @param from what generates; it outlives this @throws input_error if the port cannot be had
  model_server(openai::server_options options, served_model what, client_requests& from)
      : what_(std::move(what)), from_(from), answers_(what_, from), server_(std::move(options), answers_) {}

  std::string url() const { return server_.url(); }

  const std::string& model() const { return what_.name; }

  /// Whoever waits is told why, and nobody is served any more. Any thread.
  void close(const std::string& why) {
    from_.close(why);
    server_.end();
  }

private:
  served_model what_;
  client_requests& from_;
  model_service answers_;
  openai::server server_;
};

} // namespace millrace::endpoint
