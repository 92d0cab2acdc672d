#include "algorithms/algorithm.hpp"
#include "runtime/data/source.hpp"
#include "runtime/data/text_rows.hpp"
#include "runtime/rules/code_match.hpp"
#include "runtime/rules/code_tests.hpp"
#include "runtime/rules/code_text.hpp"
#include "runtime/rules/rule.hpp"
#include "runtime/train/batch_file.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/fuzz/readers.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tools/commands/inference_model.hpp"

#include <ATen/ATen.h>

namespace millrace::fuzz {
namespace {

using tests::write_file;

const std::string rows = R"({"prompt": [{"role": "user", "content": "1+1?"}], "reward_model": {"ground_truth": 2}, )"
                         R"("extra_info": {"index": [1, {"a": null}]}}
{"prompt": "1+2?", "answer": "3"}
{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]}

{"prompt": "x", "chosen": "a", "rejected": "b", "margin": 0.5}
{"prompt": "x", "completion": [{"role": "assistant", "content": "c"}]}
)";

const std::string batch = R"({"groups": [{"rewards": [1, 0], "answers": [
  {"logprob": [-0.5, -1.25], "behaviour_logprob": [-0.5, -1], "ref_logprob": [-1, -1],
   "value": [0, 1], "mask": [1, 0], "version": [3, 4]},
  {"logprob": [-2.5], "behaviour_logprob": [-2], "ref_logprob": [-1], "value": [NaN], "mask": [0],
   "version": [4]}], "baseline": 0.5, "domain": 1}],
  "version": 4})";

void read_rows(const std::filesystem::path& file) {
  const auto source = data::open_file(file, {.shuffle = false, .seed = 1, .epochs = 1, .system = "Be brief."},
                                      [](const std::string&) {});
  while (source->next())
    continue;
}

/// An answer of the model and what the row expects, a line each, under every rule.
void score(const std::string& bytes) {
  const auto end = bytes.find('\n');
  const rules::rule_input input{.text = std::string_view(bytes).substr(end == std::string::npos ? 0 : end + 1),
                                .answer = std::string_view(bytes).substr(0, end),
                                .tokens = 10,
                                .truncated = false};
  static const auto format = rules::make_rule("format", {{"pattern", std::string("<think>[^<]*</think>.*")}});
  static const auto number = rules::make_rule("number", {}), exact = rules::make_rule("exact", {});
  for (const auto& rule : {format.get(), number.get(), exact.get()}) {
    rule->statement(input);
    if (const auto found = rule->evaluate(input); found.status != rules::score_status::value)
      throw input_error(found.reason);
  }
}

/// A row's tests in the first line, and an answer or an output after it.
void score_program(const std::string& bytes) {
  const auto end = std::min(bytes.find('\n'), bytes.size());
  const auto rest = std::string_view(bytes).substr(end);
  const auto tests = rules::read_code_tests(std::string_view(bytes).substr(0, end));
  rules::program_in(rest);
  rules::same_output(rest, tests.given.front());
  for (const auto& wanted : tests.expected)
    rules::same_result(rest, wanted);
}

} // namespace

readers data_readers(const std::filesystem::path& scratch) {
  const auto file = scratch / "rows.jsonl", texts = scratch / "texts.jsonl", prompts = scratch / "prompts.jsonl";
  return {{.name = "rows of data",
           .whole = {rows},
           .read =
               [file](const std::string& bytes) {
                 write_file(file, bytes);
                 read_rows(file);
               }},
          {.name = "rows of text",
           .whole = {"{\"text\": \"Once\"}\n\n{\"text\": \"twice \\u00e9\", \"more\": [1]}\n"},
           .read =
               [texts](const std::string& bytes) {
                 write_file(texts, bytes);
                 data::text_rows(texts).of_step(3, 2);
               }},
          {.name = "rows of generate and score",
           .whole = {"{\"prompt\": \"Hi\"}\n{\"prompt_tokens\": [1, 2], \"tokens\": [3]}\n"},
           .read =
               [prompts](const std::string& bytes) {
                 write_file(prompts, bytes);
                 tools::read_json_rows(prompts);
               }},
          {.name = "batch of algorithm eval",
           .whole = {batch},
           .read = [](const std::string& bytes) { train::parse_batch(bytes, "batch.json"); }},
          {.name = "answer to a rule",
           .whole = {"42\n<think>\nSo 6 times 7 is \\frac{84}{2}.\n</think> The answer is \\boxed{42}. #### 4.2e1",
                     "-1,234.5\nThat is -1,234.50, or -12345/10"},
           .read = score},
          {.name = "program and its tests",
           .whole = {R"({"fn_name": "f", "inputs": ["1\n[2]", [{"a": 3}]], "outputs": ["[3, 2.5]", [null]]})"
                     "\n[3, 2.5]\n```python\nprint(1)\n```",
                     "[\"assert f(1) == 2\"]\n1 2.0\n```\nf = 1"},
           .read = score_program}};
}

} // namespace millrace::fuzz
