#pragma once

#include <memory>
#include <typeindex>
#include <utility>

namespace millrace::actors {

/// A message on its way: any plain struct, and which one it is. It is the one type of message that CAF knows. Within a
/// process the struct itself is handed on; to another process it travels as its fields (wire_types.hpp).
class envelope {
public:
  envelope() = default;

  template <class Message>
  static envelope of(Message message) {
    return envelope(typeid(Message), std::make_shared<const Message>(std::move(message)));
  }

  envelope(std::type_index type, std::shared_ptr<const void> content) : type_(type), content_(std::move(content)) {}

  bool empty() const { return content_ == nullptr; }

  std::type_index type() const { return type_; }

  const void* content() const { return content_.get(); }

  /// The struct. @returns nullptr if it is another one
  template <class Message>
  const Message* as() const {
    return type_ == typeid(Message) ? static_cast<const Message*>(content_.get()) : nullptr;
  }

private:
  std::type_index type_ = typeid(void);
  std::shared_ptr<const void> content_;
};

} // namespace millrace::actors
