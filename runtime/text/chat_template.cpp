#include "runtime/text/chat_template.hpp"

#include "runtime/text/template_skeleton.hpp"
#include "runtime/text/tool_format.hpp"
#include "runtime/text/utf8.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>

namespace millrace::text {
namespace {

std::string_view without_leading(std::string_view text, char c) {
  const std::size_t first = text.find_first_not_of(c);
  return first == std::string_view::npos ? "" : text.substr(first);
}

std::string_view without_trailing(std::string_view text, char c) {
  const std::size_t last = text.find_last_not_of(c);
  return last == std::string_view::npos ? "" : text.substr(0, last + 1);
}

void require_known_roles(std::string_view name, std::span<const chat_turn> messages) {
  const auto wrong = [&](const std::string& found, const std::string& want) {
    return input_error("chat template " + std::string(name) + ": found " + found + ", want " + want);
  };
  if (messages.empty())
    throw wrong("no message", "at least one");
  for (std::size_t i = 0; i < messages.size(); ++i)
    if (const std::string& role = messages[i].role;
        role != "system" && role != "user" && role != "assistant" && role != "tool")
      throw wrong("the role \"" + role + "\" in message " + std::to_string(i + 1), "system, user, assistant or tool");
}

/// The results of tools as Qwen writes them: turns of the user, those that follow each other in one.
std::string qwen_tool_turn(std::span<const chat_turn> messages, std::size_t i) {
  std::string text;
  if (i == 0 || messages[i - 1].role != "tool")
    text += "<|im_start|>user";
  text += "\n<tool_response>\n" + messages[i].content + "\n</tool_response>";
  if (i + 1 == messages.size() || messages[i + 1].role != "tool")
    text += "<|im_end|>\n";
  return text;
}

/// The system turn of ChatML: the conversation's first one or the default, and the tools. "" where there is none of
/// them. A first one is taken off `messages`.
std::string take_system_turn(std::span<const chat_turn>& messages, std::span<const std::string> tools,
                             std::string_view fallback) {
  std::string content(fallback);
  const bool has_one = messages[0].role == "system";
  if (has_one) {
    content = messages[0].content;
    messages = messages.subspan(1);
  }
  if (!tools.empty())
    content += (has_one || !fallback.empty() ? "\n\n" : "") + tagged_offer(tools);
  return content.empty() && !has_one ? "" : "<|im_start|>system\n" + content + "<|im_end|>\n";
}

constexpr std::string_view chatml_turn_end = "<|im_end|>", llama3_turn_end = "<|eot_id|>";

/// `<|im_start|>role\ncontent<|im_end|>\n`, with a system turn in front where the conversation has none.
class chatml_template final : public chat_template {
public:
  /// @param qwen_tools the results of tools are written as Qwen does
  chatml_template(std::string_view name, std::string source, std::string default_system, bool qwen_tools)
      : chat_template(name, std::move(source)), default_system_(std::move(default_system)), qwen_tools_(qwen_tools) {}

  std::string render(std::span<const chat_turn> messages, std::span<const std::string> tools,
                     opening next) const override {
    require_known_roles(name(), messages);
    std::string text = take_system_turn(messages, tools, default_system_);
    for (std::size_t i = 0; i < messages.size(); ++i)
      if (const chat_turn& m = messages[i]; qwen_tools_ && m.role == "tool")
        text += qwen_tool_turn(messages, i);
      else
        text += "<|im_start|>" + m.role + "\n" + m.content + "<|im_end|>\n";
    if (next == opening::assistant)
      text += "<|im_start|>assistant\n";
    return text;
  }

  std::string_view turn_end() const override { return chatml_turn_end; }

  called_turn calls_in(std::string_view text) const override { return tagged_calls_in(text); }

  std::string with_calls(const called_turn& turn) const override { return with_tagged_calls(turn.content, turn.calls); }

private:
  std::string default_system_;
  bool qwen_tools_;
};

/// ChatML whose answers may begin with a `<think>` part: it is kept behind the last question and dropped before it.
class qwen3_template final : public chat_template {
public:
  qwen3_template(std::string_view name, std::string source, bool thinking)
      : chat_template(name, std::move(source)), thinking_(thinking) {}

  std::string render(std::span<const chat_turn> messages, std::span<const std::string> tools,
                     opening next) const override {
    require_known_roles(name(), messages);
    std::string text = take_system_turn(messages, tools, "");
    std::size_t last_question = messages.size() - 1;
    for (std::size_t i = messages.size(); i-- > 0;)
      if (is_question(messages[i])) {
        last_question = i;
        break;
      }
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const chat_turn& m = messages[i];
      if (m.role == "tool") {
        text += qwen_tool_turn(messages, i);
        continue;
      }
      text += "<|im_start|>" + m.role + "\n";
      if (m.role == "assistant")
        text += answer(m.content, i > last_question, i + 1 == messages.size());
      else
        text += m.content;
      text += "<|im_end|>\n";
    }
    if (next == opening::assistant)
      text += thinking_ ? "<|im_start|>assistant\n" : "<|im_start|>assistant\n<think>\n\n</think>\n\n";
    return text;
  }

  bool leaves_thoughts_out() const override { return true; }

  bool rewrites(std::span<const chat_turn> history, std::span<const chat_turn> said) const override {
    if (!thinking_)
      return true; // the empty thought that each turn was opened with
    // Behind the last question thoughts stand, but for empty ones; without a question each goes behind its turn.
    const bool question = std::ranges::any_of(history, is_question), asked = std::ranges::any_of(said, is_question);
    for (std::size_t i = history.size(); i-- > 0 && !is_question(history[i]);) {
      if (history[i].role != "assistant" || history[i].content.find(close_) == std::string::npos)
        continue;
      const bool behind_turn = !question || thought_in(history[i].content).empty();
      if (behind_turn ? i + 1 == history.size() : asked)
        return true;
    }
    return false;
  }

  std::string_view turn_end() const override { return chatml_turn_end; }

  called_turn calls_in(std::string_view text) const override { return tagged_calls_in(text); }

  std::string with_calls(const called_turn& turn) const override { return with_tagged_calls(turn.content, turn.calls); }

private:
  static constexpr std::string_view open_ = "<think>", close_ = "</think>";

  static bool is_question(const chat_turn& m) {
    return m.role == "user" && !(m.content.starts_with("<tool_response>") && m.content.ends_with("</tool_response>"));
  }

  /// "" where there is none.
  static std::string_view thought_in(std::string_view content) {
    const std::size_t end = content.find(close_);
    if (end == std::string_view::npos)
      return {};
    auto thought = without_trailing(content.substr(0, end), '\n');
    if (const std::size_t begin = thought.rfind(open_); begin != std::string_view::npos)
      thought.remove_prefix(begin + open_.size());
    return without_leading(thought, '\n');
  }

  static std::string answer(std::string_view content, bool after_question, bool last) {
    const auto thought = thought_in(content);
    if (const std::size_t end = content.rfind(close_); end != std::string_view::npos)
      content = without_leading(content.substr(end + close_.size()), '\n');
    if (!after_question || (!last && thought.empty()))
      return std::string(content);
    return "<think>\n" + std::string(without_trailing(thought, '\n')) + "\n</think>\n\n"
           + std::string(without_leading(content, '\n'));
  }

  bool thinking_;
};

/// `<|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>`, content stripped; since 3.1 a system turn with two
/// dates always stands in front.
class llama3_template final : public chat_template {
public:
  llama3_template(std::string_view name, std::string source, std::string_view bos, bool dates)
      : chat_template(name, std::move(source)), bos_(bos), dates_(dates) {}

  std::string render(std::span<const chat_turn> messages, std::span<const std::string> tools,
                     opening next) const override {
    require_known_roles(name(), messages);
    std::string text = bos_;
    if (dates_) {
      text += header("system") + (tools.empty() ? "" : "Environment: ipython\n")
              + "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
      if (messages[0].role == "system") {
        text += strip_unicode(messages[0].content);
        messages = messages.subspan(1);
      }
      text += "<|eot_id|>";
    }
    if (!tools.empty()) {
      const auto asked =
          std::find_if(messages.begin(), messages.end(), [](const auto& m) { return m.role != "system"; });
      if (asked == messages.end())
        throw input_error("chat template " + std::string(name())
                          + ": found no question, want one that offers the tools");
      for (const chat_turn& m : messages.first(static_cast<std::size_t>(asked - messages.begin())))
        text += header(m.role) + std::string(strip_unicode(m.content)) + "<|eot_id|>";
      text += header("user") + bare_offer(tools) + std::string(strip_unicode(asked->content)) + "<|eot_id|>";
      messages = messages.subspan(static_cast<std::size_t>(asked - messages.begin()) + 1);
    }
    for (const chat_turn& m : messages)
      if (dates_ && m.role == "tool")
        text += header("ipython") + python_json(nlohmann::ordered_json(m.content)) + "<|eot_id|>";
      else
        text += header(m.role) + std::string(strip_unicode(m.content)) + "<|eot_id|>";
    if (next == opening::assistant)
      text += header("assistant");
    return text;
  }

  std::string_view turn_end() const override { return llama3_turn_end; }

  called_turn calls_in(std::string_view text) const override { return bare_calls_in(text); }

  std::string with_calls(const called_turn& turn) const override {
    return turn.calls.empty() ? turn.content : with_bare_calls(turn.calls);
  }

private:
  static std::string header(std::string_view role) {
    return "<|start_header_id|>" + std::string(role) + "<|end_header_id|>\n\n";
  }

  std::string bos_;
  bool dates_;
};

enum class shape { chatml, qwen3, qwen3_no_think, llama3, llama3_dated };

struct family_entry {
  std::string_view name;
  shape form;
  std::string_view default_system; ///< of a ChatML family that is named; a recognised one brings its own
};

constexpr family_entry families[] = {
    {"chatml", shape::chatml, ""},
    {"smollm2", shape::chatml, "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
    {"qwen2", shape::chatml, "You are a helpful assistant."},
    {"qwen2.5", shape::chatml, "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
    {"qwen3", shape::qwen3, ""},
    {"qwen3-no-think", shape::qwen3_no_think, ""},
    {"qwen3-2507", shape::chatml, ""},
    {"llama3", shape::llama3, ""},
    {"llama3.1", shape::llama3_dated, ""},
    {"llama3.2", shape::llama3_dated, ""},
};

constexpr std::size_t most_template_bytes = 1 << 20;

struct known_skeleton {
  std::uint64_t hash;
  std::string_view name;
};

// Of the templates that the models ship; an unknown template's error line prints its own. Three spellings of ChatML;
// SmolLM2 and Qwen2 differ in the default system line only.
constexpr known_skeleton skeletons[] = {
    {0xd74f758838770842, "chatml"},     {0x0489f7cf39b689b9, "chatml"},  {0xbf07376a0990ed41, "chatml"},
    {0xd05ae55fe68a1a9d, "smollm2"},    {0xe5ec984c81cdae51, "qwen2.5"}, {0x344de897a8af28d6, "qwen3"},
    {0xb11d20860408bbce, "qwen3-2507"}, {0x141d73abbac90c76, "llama3"},  {0x1b5a926879b3aafd, "llama3.1"},
    {0x8b43dbaf51393496, "llama3.2"},
};

const family_entry* find_family(std::string_view name) {
  for (const family_entry& f : families)
    if (f.name == name)
      return &f;
  return nullptr;
}

std::shared_ptr<const chat_template> make(const family_entry& f, std::string source, std::string default_system,
                                          std::string_view bos) {
  switch (f.form) {
  case shape::qwen3:
  case shape::qwen3_no_think:
    return std::make_shared<qwen3_template>(f.name, std::move(source), f.form == shape::qwen3);
  case shape::llama3:
  case shape::llama3_dated:
    return std::make_shared<llama3_template>(f.name, std::move(source), bos, f.form == shape::llama3_dated);
  case shape::chatml:
    break;
  }
  return std::make_shared<chatml_template>(f.name, std::move(source), std::move(default_system),
                                           f.name == "qwen2.5" || f.name == "qwen3-2507");
}

std::string names_in_words() {
  std::string words;
  for (const family_entry& f : families)
    words += (words.empty() ? "" : ", ") + std::string(f.name);
  return words;
}

} // namespace

std::vector<std::string_view> chat_template_names() {
  std::vector<std::string_view> names;
  for (const family_entry& f : families)
    names.push_back(f.name);
  return names;
}

std::shared_ptr<const chat_template> named_chat_template(std::string_view name, std::string_view bos) {
  const family_entry* const f = find_family(name);
  if (!f)
    throw input_error("chat_template: found \"" + std::string(name) + "\", want one of " + names_in_words());
  return make(*f, "", std::string(f->default_system), bos);
}

std::shared_ptr<const chat_template> recognise_chat_template(std::string_view text, std::string_view origin,
                                                             std::string_view bos) {
  if (text.size() > most_template_bytes)
    throw input_error(std::string(origin) + ": chat template: found " + std::to_string(text.size())
                      + " bytes, want at most " + std::to_string(most_template_bytes));
  template_skeleton skeleton = skeleton_of(text);
  for (const known_skeleton& known : skeletons)
    if (known.hash == skeleton.hash) {
      std::string_view name = known.name;
      if (name == "smollm2" && skeleton.default_system != find_family(name)->default_system)
        name = "qwen2";
      return make(*find_family(name), std::string(text), std::move(skeleton.default_system), bos);
    }
  std::array<char, 17> hash{};
  std::snprintf(hash.data(), hash.size(), "%016llx", static_cast<unsigned long long>(skeleton.hash));
  throw input_error(std::string(origin) + ": chat template: found one of no known family (skeleton " + hash.data()
                    + "), want one of " + names_in_words() + "; chat_template = \"name\" under [models.X] names one");
}

} // namespace millrace::text
