#include "actors/protocol/wire_types.hpp"

#include "actors/protocol/caf_envelope.hpp"
#include "actors/protocol/wire_fields.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <caf/stream_deserializer.hpp>
#include <caf/stream_serializer.hpp>
#include <caf/streambuf.hpp>

#include <algorithm>
#include <bit>
#include <map>
#include <stdexcept>

namespace millrace::actors {
namespace {

/// Writes fields as CAF does, except that floating-point numbers are written as their bits. CAF 0.17 computes their
/// representation: NaN becomes -1, negative zero becomes zero, a denormal becomes a huge number, and some never end.
class field_writer final : public caf::stream_serializer<caf::containerbuf<std::string>> {
public:
  field_writer(caf::execution_unit* context, std::string& into) : stream_serializer(context, into) {}

protected:
  using stream_serializer::apply_impl;

  caf::error apply_impl(float& x) override { return apply_int(std::bit_cast<std::uint32_t>(x)); }

  caf::error apply_impl(double& x) override { return apply_int(std::bit_cast<std::uint64_t>(x)); }
};

/// Reads what `field_writer` wrote. A length that promises more than there is left is refused before memory is taken.
class field_reader final : public caf::stream_deserializer<caf::charbuf> {
public:
  field_reader(caf::execution_unit* context, std::string& from)
      : stream_deserializer(context, from.data(), from.size()), left_(from.size()) {}

  caf::error begin_sequence(std::size_t& size) override {
    if (auto error = stream_deserializer::begin_sequence(size))
      return error;
    return size > left_ ? caf::error(caf::sec::end_of_stream) : caf::error();
  }

  caf::error apply_raw(std::size_t size, void* into) override {
    left_ -= std::min(size, left_);
    return stream_deserializer::apply_raw(size, into);
  }

protected:
  using stream_deserializer::apply_impl;

  caf::error apply_impl(float& x) override { return from_bits<std::uint32_t>(x); }

  caf::error apply_impl(double& x) override { return from_bits<std::uint64_t>(x); }

private:
  template <class Bits, class Number>
  caf::error from_bits(Number& x) {
    Bits bits = 0;
    auto error = apply_int(bits);
    x = std::bit_cast<Number>(bits);
    return error;
  }

  std::size_t left_; ///< bytes at most: lengths are not counted
};

/// One type of message: its name, and how its fields are written and read.
struct wire_type {
  const char* name;
  std::type_index type;
  caf::error (*save)(caf::serializer&, const void*);
  caf::error (*load)(caf::deserializer&, std::shared_ptr<const void>&);
};

template <class Message>
wire_type row(const char* name) {
  return {.name = name,
          .type = typeid(Message),
          .save =
              [](caf::serializer& sink, const void* message) {
                return sink(*const_cast<Message*>(static_cast<const Message*>(message))); // saving changes nothing
              },
          .load =
              [](caf::deserializer& source, std::shared_ptr<const void>& message) {
                auto fresh = std::make_shared<Message>();
                auto error = source(*fresh);
                message = std::move(fresh);
                return error;
              }};
}

/// Between the coordinator and roles.
std::vector<wire_type> of_roles() {
  return {
      row<take_prompt>("take_prompt"),
      row<prompt_row>("prompt_row"),
      row<find_position>("find_position"),
      row<source_position>("source_position"),
      row<prompts_measured>("prompts_measured"),
      row<generate_group>("generate_group"),
      row<generation_lost>("generation_lost"),
      row<begin_episodes>("begin_episodes"),
      row<episodes_begun>("episodes_begun"),
      row<take_turn>("take_turn"),
      row<turn_taken>("turn_taken"),
      row<end_episodes>("end_episodes"),
      row<group_accepted>("group_accepted"),
      row<cancel_group>("cancel_group"),
      row<interrupt_group>("interrupt_group"),
      row<group_interrupted>("group_interrupted"),
      row<group_generated>("group_generated"),
      row<process_group>("process_group"),
      row<group_columns>("group_columns"),
      row<fetch_group>("fetch_group"),
      row<group_fetched>("group_fetched"),
      row<forget_group>("forget_group"),
      row<train_batch>("train_batch"),
      row<batch_report>("batch_report"),
      row<interrupt_training>("interrupt_training"),
      row<end_step>("end_step"),
      row<step_ended>("step_ended"),
      row<publish_weights>("publish_weights"),
      row<weights_published>("weights_published"),
      row<hold_weights>("hold_weights"),
      row<weights_taken>("weights_taken"),
      row<new_weights>("new_weights"),
      row<weights_live>("weights_live"),
      row<write_checkpoint>("write_checkpoint"),
      row<find_file>("find_file"),
      row<file_found>("file_found"),
      row<checkpoint_written>("checkpoint_written"),
      row<checkpoint_stored>("checkpoint_stored"),
      row<evaluate_version>("evaluate_version"),
      row<version_evaluated>("version_evaluated"),
      row<evaluation_progress>("evaluation_progress"),
      row<form_ranks>("form_ranks"),
      row<rank_word>("rank_word"),
      row<part_ranks>("part_ranks"),
      row<ranks_lost>("ranks_lost"),
  };
}

/// Between the coordinator and processes and nodes.
std::vector<wire_type> of_processes() {
  return {
      row<peer_up>("peer_up"),
      row<peer_known>("peer_known"),
      row<peer_gone>("peer_gone"),
      row<release_bundles>("release_bundles"),
      row<start_roles>("start_roles"),
      row<end_process>("end_process"),
      row<report_now>("report_now"),
      row<process_report>("process_report"),
      row<join_run>("join_run"),
      row<welcome>("welcome"),
      row<begin_run>("begin_run"),
      row<role_failed>("role_failed"),
      row<process_failed>("process_failed"),
      row<failure_noted>("failure_noted"),
      row<process_ended>("process_ended"),
      row<stop_run>("stop_run"),
      row<check_models>("check_models"),
      row<models_checked>("models_checked"),
      row<started_on_node>("started_on_node"),
      row<kill_on_node>("kill_on_node"),
      row<end_node>("end_node"),
      row<node_ends>("node_ends"),
      row<join_as_node>("join_as_node"),
      row<joined_as_node>("joined_as_node"),
      row<process_up>("process_up"),
      row<role_ready>("role_ready"),
      row<start_on_node>("start_on_node"),
  };
}

/// The one list of what travels. Both sides of a connection are the same program, so a number is a place in it.
const std::vector<wire_type>& all() {
  static const std::vector<wire_type> rows = [] {
    auto list = of_roles();
    for (auto& row : of_processes())
      list.push_back(std::move(row));
    return list;
  }();
  return rows;
}

std::uint16_t number_of(std::type_index type) {
  static const auto numbers = [] {
    std::map<std::type_index, std::uint16_t> by_type;
    for (std::uint16_t i = 0; i < all().size(); ++i)
      by_type.emplace(all()[i].type, i);
    return by_type;
  }();
  const auto found = numbers.find(type);
  if (found == numbers.end())
    throw std::invalid_argument(std::string(type.name()) + " does not travel between processes");
  return found->second;
}

constexpr std::uint16_t nothing = 0xffff;

} // namespace

caf::error inspect(caf::serializer& sink, envelope& what) {
  std::uint16_t number = what.empty() ? nothing : number_of(what.type());
  if (auto error = sink(number); error || number == nothing)
    return error;
  std::string fields;
  field_writer writer(sink.context(), fields);
  if (auto error = all()[number].save(writer, what.content()))
    return error;
  return sink(fields);
}

caf::error inspect(caf::deserializer& source, envelope& what) {
  std::uint16_t number = nothing;
  what = {};
  if (auto error = source(number); error || number == nothing)
    return error;
  if (number >= all().size())
    return caf::make_error(caf::sec::unknown_type, "a message of a newer version");
  std::string fields;
  if (auto error = source(fields))
    return error;
  std::shared_ptr<const void> content;
  field_reader reader(source.context(), fields);
  if (auto error = all()[number].load(reader, content))
    return error;
  what = envelope(all()[number].type, std::move(content));
  return caf::none;
}

void add_envelope(caf::actor_system_config& config) {
  config.add_message_type<envelope>("envelope");
}

std::vector<std::string> wire_types() {
  std::vector<std::string> names;
  for (const auto& row : all())
    names.emplace_back(row.name);
  return names;
}

std::vector<char> to_wire(caf::actor_system& system, const envelope& what) {
  std::vector<char> bytes;
  caf::binary_serializer sink(system, bytes);
  auto copy = what;
  if (auto error = sink(copy))
    throw std::runtime_error(to_string(error));
  return bytes;
}

envelope from_wire(caf::actor_system& system, std::vector<char> bytes) {
  caf::binary_deserializer source(system, bytes);
  envelope what;
  if (auto error = source(what))
    throw std::runtime_error(to_string(error));
  return what;
}

} // namespace millrace::actors
