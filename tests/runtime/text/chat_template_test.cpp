#include "runtime/text/chat_template.hpp"
#include "runtime/text/template_skeleton.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <sstream>

namespace chat_template_test {

using namespace millrace;
using namespace millrace::text;
using nlohmann::json;

namespace {

const std::string chatml_loop =
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

std::string with_default_system(const std::string& line) {
  return "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n"
         + line + "<|im_end|>\\n' }}{% endif %}"
         + chatml_loop.substr(std::string("{% for message in messages %}").size());
}

const std::vector<chat_turn> hello = {{"user", "Hi"}};

} // namespace

TEST_CASE("chat templates: every family renders what Jinja2 renders of its own template") {
  std::ifstream in("tests/golden/chat_templates.jsonl");
  std::size_t rows = 0;
  for (std::string line; std::getline(in, line); ++rows) {
    const json row = json::parse(line);
    std::vector<chat_turn> messages;
    for (const json& m : row["messages"])
      messages.push_back({m[0], m[1]});
    CAPTURE(line);
    const auto chat = named_chat_template(row["name"].get<std::string>());
    CHECK(chat->render(messages, row["generation"] ? opening::assistant : opening::none)
          == row["text"].get<std::string>());
  }
  CHECK(rows == 2 * 24 * chat_template_names().size());
}

TEST_CASE("chat templates: ChatML is recognised in any spelling") {
  for (const std::string& text : {chatml_loop, "{#- a comment #}\n" + chatml_loop + "\n",
                                  std::string("{%- for message in messages %}\n    {{- '<|im_start|>' + message.role + "
                                              "\"\\n\" + message.content + '<|im_end|>\\n' }}\n"
                                              "{%- endfor %}\r\n{%- if add_generation_prompt %}\n    {{- "
                                              "'<|im_start|>assistant\\n' }}\n{%- endif %}\n")}) {
    const auto chat = recognise_chat_template(text, "m");
    CHECK(chat->name() == "chatml");
    CHECK(chat->source() == text);
    CHECK(chat->render(hello, opening::assistant) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  }
}

TEST_CASE("chat templates: the default system line is read out of the template") {
  const auto smollm2 = recognise_chat_template(
      with_default_system("You are a helpful AI assistant named SmolLM, trained by Hugging Face"), "m");
  CHECK(smollm2->name() == "smollm2");
  CHECK(smollm2->render(hello, opening::none) == named_chat_template("smollm2")->render(hello, opening::none));
  const auto other = recognise_chat_template(with_default_system("Say \\'yes\\'."), "m");
  CHECK(other->name() == "qwen2");
  CHECK(other->render(hello, opening::none)
        == "<|im_start|>system\nSay 'yes'.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n");
}

TEST_CASE("chat templates: any change that shows makes a template unknown, and the error says how to name one") {
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"'content']", "'content'] | trim"},
                                                                                 {"<|im_end|>", "<|end|>"},
                                                                                 {"{% endfor %}", " {% endfor %}"},
                                                                                 {"+ '\\n'}}", "}}"}}) {
    std::string changed = chatml_loop;
    changed.replace(changed.find(from), from.size(), to);
    CHECK_THROWS_AS(recognise_chat_template(changed, "m"), input_error);
  }
  CHECK_THROWS_WITH_AS(
      recognise_chat_template("{{ messages }}", "folder/tokenizer_config.json"),
      "folder/tokenizer_config.json: chat template: found one of no known family (skeleton 14ccfefa6505872d), want one "
      "of "
      "chatml, smollm2, qwen2, qwen2.5, qwen3, qwen3-no-think, qwen3-2507, llama3, llama3.1, llama3.2; "
      "chat_template = \"name\" under [models.X] names one",
      input_error);
  for (const char* text : {"", "{{", "{%", "{#", "{{ '", "{% \"\\", "}}", "\xff{{"})
    CHECK_THROWS_AS(recognise_chat_template(text, "m"), input_error);
}

TEST_CASE("chat templates: an unknown name is refused with the known ones") {
  CHECK_THROWS_WITH_AS(named_chat_template("llama2"),
                       "chat_template: found \"llama2\", want one of chatml, smollm2, qwen2, qwen2.5, qwen3, "
                       "qwen3-no-think, qwen3-2507, "
                       "llama3, llama3.1, llama3.2",
                       input_error);
}

TEST_CASE("chat templates: a role that is not known and an empty conversation are refused") {
  for (const std::string_view name : chat_template_names()) {
    const auto chat = named_chat_template(name);
    const std::string prefix = "chat template " + std::string(name) + ": ";
    CHECK_THROWS_WITH_AS(
        chat->render(std::vector<chat_turn>{{"user", "x"}, {"critic", "5"}}, opening::assistant),
        (prefix + "found the role \"critic\" in message 2, want system, user, assistant or tool").c_str(), input_error);
    CHECK_THROWS_WITH_AS(chat->render({}, opening::assistant), (prefix + "found no message, want at least one").c_str(),
                         input_error);
  }
}

TEST_CASE("chat templates: which thoughts are left out of earlier turns, and when a conversation stands otherwise") {
  const chat_turn thinks{"assistant", "<think>\nA\n</think>\n\n5"}, plain{"assistant", "6"};
  const auto qwen3 = named_chat_template("qwen3");
  const std::vector<chat_turn> once{{"user", "?"}, thinks}, tool{{"tool", "7"}}, question{{"user", "and?"}};
  CHECK(qwen3->rewrites(once, question));
  CHECK(!qwen3->rewrites(once, tool));
  CHECK(!qwen3->rewrites(std::vector<chat_turn>{{"user", "?"}, plain}, question));
  CHECK(qwen3->rewrites(std::vector<chat_turn>{{"user", "?"}, thinks, {"tool", "7"}, plain}, question));
  CHECK(!named_chat_template("chatml")->rewrites(once, question));

  // Against the text itself: what was read before the turn, and the turn, begin the text that is read next.
  std::mt19937 random(5);
  const auto below = [&](unsigned n) { return random() % n; };
  std::size_t rewritten = 0, kept = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    const auto names = chat_template_names();
    const auto chat = named_chat_template(names[below(static_cast<unsigned>(names.size()))]);
    std::vector<chat_turn> history{{below(4) ? "user" : "system", "?"}};
    for (auto turns = below(4);; --turns) {
      const std::string thought = std::vector<std::string>{
          "", "<think>\n\n</think>\n\n", "<think>\nB\n</think>\n\n"}[chat->name() == "qwen3-no-think" ? 0 : below(3)];
      history.push_back({"assistant", thought + "8"});
      if (turns == 0)
        break;
      history.push_back(below(2) ? chat_turn{"tool", "9"} : chat_turn{"user", "?"});
    }
    const std::vector<chat_turn> said{below(2) ? chat_turn{"tool", "9"} : chat_turn{"user", "?"}};
    auto all = history;
    all.insert(all.end(), said.begin(), said.end());
    const auto read = chat->render(std::span(history).first(history.size() - 1), opening::assistant);
    const bool otherwise = !chat->render(all, opening::assistant)
                                .starts_with(read + history.back().content + std::string(chat->turn_end()));
    CAPTURE(chat->name());
    CAPTURE(chat->render(all, opening::assistant));
    CHECK(chat->rewrites(history, said) == otherwise);
    CHECK((!otherwise || chat->leaves_thoughts_out()));
    ++(otherwise ? rewritten : kept);
  }
  CHECK(rewritten > 100);
  CHECK(kept > 1000);
}

TEST_CASE("chat templates: the Llama families begin with the model's own begin-of-text token") {
  CHECK(named_chat_template("llama3", "<s>")->render(hello, opening::none)
        == "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>");
}

TEST_CASE("chat templates: a template of any text is read in time in proportion to it") {
  const auto repeated = [](std::string_view part, std::size_t bytes) {
    std::string out;
    while (out.size() < bytes)
      out += part;
    return out;
  };
  constexpr std::size_t size = 900'000;
  const std::string system = "{{ '<|im_start|>system\nab<|im_end|>' }}";
  const std::string long_line(4000, 'a');
  for (const std::string& text :
       {system + repeated("ab", size), "{{ '<|im_start|>system\n" + long_line + "<|im_end|>' }}" + repeated("a", size),
        repeated("{{", size), repeated("{% '", size), repeated("<|im_start|>system\n", size), repeated(" \t", size),
        repeated("{#-", size)}) {
    const auto start = std::chrono::steady_clock::now();
    CHECK_THROWS_AS(recognise_chat_template(text, "m"), input_error);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
  }
  CHECK_THROWS_WITH_AS(recognise_chat_template(repeated("a", (1 << 20) + 1), "m"),
                       "m: chat template: found 1048577 bytes, want at most 1048576", input_error);
}

TEST_CASE("chat templates: the templates that the models ship are recognised") {
  namespace fs = std::filesystem;
  const char* const home = std::getenv("HOME");
  const char* const peers = std::getenv("MILLRACE_PEERS");
  const fs::path venv = peers ? fs::path(peers) : fs::path(home ? home : "") / ".cache/millrace/peers";
  fs::path folder;
  if (fs::is_directory(venv / "lib"))
    for (const auto& python : fs::directory_iterator(venv / "lib"))
      if (fs::is_directory(python.path() / "site-packages/trl/chat_templates"))
        folder = python.path() / "site-packages/trl/chat_templates";
  if (folder.empty()) {
    MESSAGE("skipped: no trl, which carries the templates, in " << venv.string());
    return;
  }
  const std::vector<std::pair<std::string, std::string>> families = {
      {"llama3", "llama3"},   {"llama3_1", "llama3.1"}, {"llama3_2", "llama3.2"},
      {"qwen2_5", "qwen2.5"}, {"qwen3", "qwen3"},       {"qwen3_instruct_2507", "qwen3-2507"}};
  const auto text_of = [](const fs::path& file) {
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
  };
  std::size_t known = 0;
  for (const auto& file : fs::directory_iterator(folder)) {
    std::string name = "none";
    try {
      name = recognise_chat_template(text_of(file.path()), "m")->name();
      ++known;
    } catch (const input_error&) {
    }
    for (const auto& [stem, family] : families)
      if (file.path().stem() == stem)
        CHECK(name == family);
  }
  CHECK(known == families.size());
  CHECK(recognise_chat_template(text_of(folder / "qwen2_5.jinja"), "m")->render(hello, opening::assistant)
        == named_chat_template("qwen2.5")->render(hello, opening::assistant));
}

} // namespace chat_template_test
