#include "runtime/roles/policy_core.hpp"

#include "runtime/columns/adapter_base.hpp"
#include "runtime/columns/weights_bundle.hpp"
#include "runtime/formats/durable_write.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/roles/learner_options.hpp"
#include "runtime/roles/policy_metrics.hpp"
#include "runtime/run_files/storage.hpp"
#include "runtime/train/mask_old.hpp"
#include "runtime/train/shared_groups.hpp"
#include "runtime/train/shown_groups.hpp"
#include "runtime/train/step_columns.hpp"
#include "runtime/train/step_record.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <map>
#include <stdexcept>
#include <utility>

namespace millrace::roles {
namespace {

const pipeline::policy_table& table_of(const pipeline::pipeline& p) {
  return std::get<pipeline::policy_table>(p.policy().options);
}

/// Where a checkpoint of the policy keeps its two parts.
std::filesystem::path model_folder(const std::filesystem::path& checkpoint) {
  return checkpoint / "model";
}

std::filesystem::path optimizer_folder(const std::filesystem::path& checkpoint) {
  return checkpoint / "optimizer";
}

/// The version that the weights are; more than the optimizer's steps where a step was skipped.
std::filesystem::path version_file(const std::filesystem::path& checkpoint) {
  return checkpoint / "version";
}

std::uint32_t read_version(const std::filesystem::path& checkpoint) {
  std::ifstream file(version_file(checkpoint));
  std::uint32_t version = 0;
  if (!(file >> version))
    throw input_error(version_file(checkpoint).string() + ": missing or damaged, want the version of the weights");
  return version;
}

/// The figures of the parts of the step under way.
std::filesystem::path step_file(const std::filesystem::path& checkpoint) {
  return optimizer_folder(checkpoint) / "step.json";
}

std::filesystem::path adapter_folder(const std::filesystem::path& checkpoint) {
  return checkpoint / "adapter";
}

std::filesystem::path average_folder(const std::filesystem::path& checkpoint) {
  return checkpoint / "ema";
}

/// What the first rank asks of the others, first of an order's words.
enum class errand : std::int64_t {
  publish, ///< version, versions that are held
  outline, ///< groups
  show,    ///< a group, and how many tokens of each of its answers
};

template <class Words>
collective::parcel order_of(errand what, const Words& words) {
  collective::parcel order{.words = {static_cast<std::int64_t>(what)}, .numbers = {}, .tensors = {}};
  for (const auto word : words)
    order.words.push_back(static_cast<std::int64_t>(word));
  return order;
}

/// A ticket on its way from another rank to the first one, which knows what that rank publishes.
collective::parcel parcel_of(const ticket& published) {
  collective::parcel sent;
  const auto put = [&](std::uint64_t number) { sent.words.push_back(std::bit_cast<std::int64_t>(number)); };
  put(published.owner);
  put(published.id);
  put(published.bytes);
  std::for_each(published.checksums.begin(), published.checksums.end(), put);
  return sent;
}

/// @param whole the model's tensors @param pieces what the rank publishes of them
ticket ticket_in(const collective::parcel& sent, const std::vector<tensor_spec>& whole,
                 const std::vector<train::parameter_piece>& pieces) {
  const auto number = [&](std::size_t i) { return std::bit_cast<std::uint64_t>(sent.words.at(i)); };
  ticket published{.owner = number(0), .id = number(1), .bytes = number(2), .layout = {}, .checksums = {}};
  for (const auto& piece : pieces) {
    const auto& spec = whole[piece.parameter];
    published.layout.push_back({spec.name, spec.type, {piece.numbers}});
  }
  for (std::size_t i = 3; i < sent.words.size(); ++i)
    published.checksums.push_back(number(i));
  return published;
}

/// What training starts from. Adapters stand on the model as it was, also after a resume.
model::checkpoint load(const pipeline::pipeline& p, const std::filesystem::path& checkpoint) {
  const auto& table = table_of(p);
  auto loaded = model::load_checkpoint(checkpoint.empty() || table.lora ? p.models.at(table.model).path
                                                                        : model_folder(checkpoint));
  if (const auto& chat = p.models.at(table.model).chat_template; !chat.empty())
    model::use_chat_template(loaded, chat); // what ends its turns is written with the weights
  const auto* row = algorithms::find(table.algorithm);
  return row && row->on == algorithms::head::score ? model::with_score_head(std::move(loaded)) : loaded;
}

/// The learner's options, with the adapter that they ask for.
train::learner_options options_for(const pipeline::pipeline& p, const std::filesystem::path& checkpoint,
                                   const model::checkpoint& base, int threads, train::team_seat seat,
                                   train::group_pieces::find kept) {
  auto options = learner_options_of(p, threads);
  options.device = device_for(p, p.policy()).str();
  options.seat = std::move(seat);
  options.kept = std::move(kept);
  const auto& table = table_of(p);
  if (!table.lora)
    return options;
  if (const auto* row = algorithms::find(table.algorithm); row && row->on == algorithms::head::score)
    throw input_error("roles." + p.policy().name + ".lora: found with algorithm \"" + table.algorithm
                      + "\", whose score head no adapter trains, want the whole model trained");
  if (!checkpoint.empty())
    options.adapter = model::load_adapter(adapter_folder(checkpoint));
  else if (!table.lora->start.empty())
    options.adapter = model::load_adapter(table.lora->start);
  else
    options.adapter = model::new_adapter(base.parameters, table.lora->rank, table.lora->alpha, table.lora->targets,
                                         static_cast<std::uint64_t>(p.run.seed));
  options.adapter->base_path = p.models.at(table.model).path.string();
  return options;
}

} // namespace

policy_core::policy_core(const pipeline::pipeline& p, const std::filesystem::path& checkpoint, int threads,
                         train::team_seat seat)
    : table_(table_of(p)), leads_(seat.place.rank == 0), shares_groups_(seat.others && ranks_share_groups(p)),
      model_(load(p, checkpoint)),
      learner_(model_.config, model_.parameters,
               options_for(p, checkpoint, model_, threads, std::move(seat),
                           shares_groups_ ? [this](std::uint64_t group) { return groups_.find(group); }
                                          : train::group_pieces::find())),
      published_as_(p.models.at(table_.model).dtype), in_place_(taken_in_place(p)),
      rules_(columns::training_rules_of(p)), rewards_(reward_parts_of(p)), threads_(threads) {
  if (table_.ema_decay > 0 && leads_)
    average_.emplace(!checkpoint.empty()    ? model::load_checkpoint(average_folder(checkpoint)).parameters
                     : learner_.in_shares() ? model_.parameters
                                            : learner_.parameters(),
                     table_.ema_decay);
  model_.parameters.clear();
  mismatch_is_known_ = !table_.loss.corrections.empty();
  for (const auto* critic : p.of<pipeline::critic_table>())
    idle_steps_ = std::get<pipeline::critic_table>(critic->options).alone_steps;
  if (!checkpoint.empty()) {
    learner_.load_state(optimizer_folder(checkpoint));
    version_ = read_version(checkpoint);
    if (std::filesystem::exists(step_file(checkpoint)))
      so_far_ = train::step_report_from(run_files::read_file(step_file(checkpoint)));
  }
  if (table_.pretraining)
    texts_.emplace(table_.pretraining->file);
}

std::vector<train::training_group> policy_core::texts_of(std::uint64_t step) const {
  std::vector<train::training_group> groups;
  for (const auto& text : texts_->of_step(step - 1, static_cast<std::size_t>(table_.pretraining->rows_per_step))) {
    auto tokens = model_.tok->encode(text, millrace::text::edges::special);
    tokens.resize(std::min(tokens.size(), static_cast<std::size_t>(table_.pretraining->max_tokens)));
    if (tokens.size() < 2)
      continue;
    auto& group = groups.emplace_back();
    group.prompt = {tokens.front()};
    group.answers = {{tokens.begin() + 1, tokens.end()}};
  }
  return groups;
}

bool policy_core::keep(std::uint64_t group, const columns::column_set& columns, std::string domain) {
  auto made = columns::training_group_of(group, columns, rules_, std::move(domain));
  const bool flat = columns::is_flat(made);
  keep(std::move(made));
  return flat;
}

void policy_core::keep(train::training_group group) {
  groups_.keep(std::move(group));
}

void policy_core::forget(std::uint64_t group) {
  groups_.forget(group);
}

batch_report policy_core::train(const train_batch& batch, std::stop_token stop,
                                std::optional<std::vector<std::int64_t>> cuts) {
  batch_report report;
  report.step = batch.step;
  report.part = batch.part;
  report.ends_step = batch.ends_step;
  train::step_record record{.step = batch.step,
                            .version = batch.version,
                            .threads = threads_,
                            .groups = {},
                            .part = batch.part,
                            .ends_step = batch.ends_step,
                            .mask = batch.mask,
                            .train_from = batch.train_from};
  if (batch.groups.empty()) { // the rest of the step's groups were lost
    end_step(batch, report);
    report.step_record = train::to_json(record);
    return report;
  }
  auto [groups, lineages] = gathered(batch.groups);
  record.groups = std::move(lineages);
  if (!rewards_.empty())
    train::mix_rewards(groups, rewards_);
  if (texts_)
    learner_.mix(texts_of(batch.step), table_.pretraining->coefficient);
  report.masked_tokens = train::mask_old(groups, batch.mask, batch.train_from);
  auto result = train::naming_step(batch.step, [&] {
    return learner_.step(groups, batch.version, std::move(stop),
                         {.begins = batch.part == 0,
                          .ends = batch.ends_step,
                          .moves = batch.step > static_cast<std::uint64_t>(idle_steps_),
                          .mask = batch.mask,
                          .train_from = batch.train_from,
                          .cuts = std::move(cuts)});
  });
  report.interrupted = result.result == train::step_report::outcome::stopped;
  if (report.interrupted)
    return report;
  returns_ = std::exchange(result.returns, {});
  report.skipped = result.result == train::step_report::outcome::not_finite;
  report.complaint = complaint_of(result);
  record.cuts = std::move(result.cuts);
  if (const auto mismatch = mismatch_is_known_ ? "" : mismatch_complaint_of(result); !mismatch.empty()) {
    report.complaint += (report.complaint.empty() ? "" : "; ") + mismatch;
    mismatch_is_known_ = true;
  }
  if (!rewards_.empty()) // normalised, the mean says nothing
    result.reward_mean = train::mean_raw_reward(groups, rewards_);
  for (const auto& group : groups) {
    report.masked_tokens += group.masked_tokens;
    for (std::size_t i = 0; i < group.answers.size(); ++i)
      report.trained_tokens += train::tokens_in_loss(group, i);
  }
  report.step_record = train::to_json(record);
  report.shown = train::shown_groups_of(groups, result.policy_logprob, result.unusable, model_.tok);
  result.policy_logprob = {};
  groups_.forget(batch.groups);
  if (batch.part == 0 || !so_far_)
    so_far_ = std::move(result);
  else
    *so_far_ += result;
  if (batch.ends_step)
    end_step(batch, report);
  return report;
}

policy_core::batch_groups policy_core::gathered(std::span<const std::uint64_t> batch) const {
  std::map<std::uint64_t, train::group_outline> elsewhere;
  if (shares_groups_)
    for (const auto& answer : learner_.send_on_errand(order_of(errand::outline, batch)))
      for (auto& outline : train::unpacked_outlines(answer))
        elsewhere.try_emplace(outline.group.id, std::move(outline));
  batch_groups found;
  for (const auto id : batch) {
    const auto outline = elsewhere.find(id);
    if (outline == elsewhere.end() || keeps(id)) {
      found.groups.push_back(groups_.of(std::span(&id, 1)).front());
      found.lineages.push_back(train::lineage_of(found.groups.back()));
    } else {
      found.groups.push_back(std::move(outline->second.group));
      found.lineages.push_back(std::move(outline->second.record));
    }
  }
  take_beginnings(found.groups);
  return found;
}

/// The tokens that are shown of outlines, from the ranks that keep the groups.
void policy_core::take_beginnings(std::span<train::training_group> groups) const {
  if (!shares_groups_ || !model_.tok)
    return;
  const auto left_out = train::finite_groups(groups).left_out();
  std::size_t shown = 0;
  for (auto& group : groups) {
    if (shown == shown_group::most_groups)
      return;
    if (std::ranges::find(left_out, group.id) != left_out.end())
      continue;
    ++shown;
    if (!group.elsewhere)
      continue;
    const auto tokens = train::shown_tokens_of(group);
    std::vector<std::uint64_t> words{group.id};
    words.insert(words.end(), tokens.begin(), tokens.end());
    for (const auto& answer : learner_.send_on_errand(order_of(errand::show, words)))
      if (!answer.tensors.empty())
        train::take_beginning(group, tokens, answer);
  }
}

/// @param report gets the figures of all parts
void policy_core::end_step(const train_batch& batch, batch_report& report) {
  learner_.end_step();
  version_ = batch.version + 1;
  const auto whole = std::exchange(so_far_, std::nullopt);
  if (!whole)
    return;
  report.skipped = whole->result == train::step_report::outcome::not_finite;
  report.metrics = metrics_of(*whole);
  if (average_ && whole->updates > 0)
    average_->update(learner_.parameters());
}

weight_shares policy_core::publish(std::uint32_t version, published_versions& to) const {
  return train::again_with_memory_given_back(learner_.trained().front().tensor.device(),
                                             "the copy of the weights that rollouts pull",
                                             [&] { return published(version, to); });
}

weight_shares policy_core::published(std::uint32_t version, published_versions& to) const {
  if (!learner_.in_shares()) {
    const auto whole = whole_version(version);
    const auto adapter = learner_.version_adapter();
    return to.publish_whole(version, whole, adapter ? std::optional(columns::bundle_of(*adapter)) : std::nullopt);
  }
  check_version(version);
  weight_shares shares;
  for (const auto& [name, tensor] : learner_.trained())
    shares.whole.push_back({name, columns::dtype_of(published_as_), tensor.sizes().vec()});
  shares.tickets.push_back(to.publish(version, columns::bundle_of(learner_.version_share(), published_as_)));
  std::vector<version_id> words{version};
  for (const auto held : to.held())
    words.push_back(held);
  int rank = 0;
  for (const auto& answer : learner_.send_on_errand(order_of(errand::publish, words)))
    shares.tickets.push_back(ticket_in(answer, shares.whole, learner_.pieces(++rank)));
  return shares;
}

/// Without a copy where nobody needs one.
transport::bundle policy_core::whole_version(std::uint32_t version) const {
  check_version(version);
  if (in_place_)
    if (auto lent = learner_.lend_version())
      if (auto over = columns::bundle_over(std::move(lent)))
        return *over;
  return snapshot(version);
}

collective::parcel policy_core::publish_share(std::span<const std::int64_t> words, published_versions& to) const {
  to.hold_only({words.begin() + 1, words.end()});
  to.make_room();
  return parcel_of(
      to.publish(static_cast<version_id>(words.front()), columns::bundle_of(learner_.version_share(), published_as_)));
}

void policy_core::do_errands(std::shared_ptr<published_versions> to) {
  learner_.on_errand([this, to = std::move(to)](const collective::parcel& order) -> collective::parcel {
    const auto words = std::span(order.words).subspan(1);
    switch (static_cast<errand>(order.words.at(0))) {
    case errand::publish:
      return publish_share(words, *to);
    case errand::outline: {
      std::vector<std::shared_ptr<const train::training_group>> kept;
      for (const auto id : words)
        if (auto group = groups_.find(static_cast<std::uint64_t>(id)))
          kept.push_back(std::move(group));
      return train::packed_outlines(kept);
    }
    case errand::show: {
      const auto group = groups_.find(static_cast<std::uint64_t>(words.front()));
      return group ? train::packed_beginning(*group, std::vector<std::size_t>(words.begin() + 1, words.end()))
                   : collective::parcel();
    }
    }
    return {};
  });
}

void policy_core::check_version(std::uint32_t version) const {
  if (version != version_)
    throw std::logic_error("the parameters are those of version " + std::to_string(version_));
}

transport::bundle policy_core::snapshot(std::uint32_t version) const {
  check_version(version);
  return columns::bundle_of(learner_.version_parameters(), published_as_);
}

std::shared_future<std::string> policy_core::begin_checkpoint(const std::filesystem::path& folder) const {
  if (!std::filesystem::is_directory(folder))
    throw input_error(folder.string() + ": no such folder, want one to write the checkpoint into");
  const auto write_model = [&](const std::filesystem::path& into, const model::weights& parameters) {
    std::filesystem::create_directories(into);
    auto whole = model_;
    for (const auto& parameter : parameters)
      whole.parameters.push_back({parameter.name, parameter.tensor.detach().cpu()});
    model::write_checkpoint_files(into, whole);
  };
  if (!table_.lora) {
    std::filesystem::create_directories(model_folder(folder));
    model::write_description_files(model_folder(folder), model_);
  } else if (table_.lora->merged) {
    write_model(model_folder(folder), learner_.parameters());
  }
  if (average_)
    write_model(average_folder(folder), average_->parameters());
  if (const auto* adapter = learner_.adapter()) {
    std::filesystem::create_directories(adapter_folder(folder));
    model::write_adapter_files(adapter_folder(folder), *adapter, learner_.parameters());
  }
  std::filesystem::create_directories(optimizer_folder(folder));
  formats::write_new_file(version_file(folder), std::to_string(version_) + '\n');
  if (so_far_)
    formats::write_new_file(step_file(folder), train::to_json(*so_far_));
  return learner_.begin_to_save(optimizer_folder(folder), table_.lora ? std::filesystem::path() : model_folder(folder));
}

std::uint64_t policy_core::parameter_count() const {
  return learner_.trained_numbers();
}

} // namespace millrace::roles
