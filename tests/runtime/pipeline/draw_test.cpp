#include "runtime/pipeline/draw.hpp"
#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

namespace draw_test {

using namespace millrace::test;
using namespace millrace::pipeline;
using lines = std::vector<std::string>;

namespace {

const std::string with_reference =
    changed(changed(valid, "[roles.learner]",
                    "[roles.frozen]\nkind = \"reference\"\nfrom = [\"rollout\"]\nmodel = \"tiny\"\n\n[roles.learner]"),
            "from = [\"rules\"]", "from = [\"rules\", \"frozen\"]\nloss = { kl_coefficient = 0.1 }");

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
    ++n;
  return n;
}

} // namespace

TEST_CASE("each column of a reader comes by one of its arrows") {
  const auto p = parsed(with_reference);
  CHECK(columns_between(p, "rules", p.at("learner"))
        == lines{"prompt_tokens", "tokens", "mask", "logprob", "version", "lengths", "reward"});
  CHECK(columns_between(p, "frozen", p.at("learner")) == lines{"ref_logprob"});
  CHECK(columns_between(p, "rollout", p.at("rules")) == lines{"answer", "lengths", "finish", "text", "text_lengths"});
}

TEST_CASE("DOT and Mermaid") {
  const auto p = parsed(valid, {"placement.rollout.processes=2"});
  const std::string dot = draw_dot(p);
  CHECK(dot.find("\"rollout\" [label=\"rollout\\nrollout\\n2 processes of this host\"];") != std::string::npos);
  CHECK(dot.find("\"prompts\" -> \"rollout\" [label=\"prompt\\nprompt_lengths\"];") != std::string::npos);
  CHECK(dot.find("\"learner\" -> \"rollout\" [label=\"weights\", style=dashed, constraint=false];")
        != std::string::npos);
  const std::string mermaid = draw_mermaid(p);
  CHECK(mermaid.starts_with("flowchart LR\n"));
  CHECK(mermaid.find("  role_rollout -->|\"answer<br/>lengths<br/>finish<br/>text<br/>text_lengths\"| role_rules\n")
        != std::string::npos);
  CHECK(mermaid.find("  role_learner -.->|weights| role_rollout\n") != std::string::npos);
}

TEST_CASE("ranks, what they share out and what weights travel in stand in the picture") {
  const auto p =
      parsed(valid, {"placement.learner.processes=2", "placement.learner.shard=full", "models.tiny.dtype=bfloat16"});
  const std::string dot = draw_dot(p), weights = "weights, bfloat16, a share from each rank";
  CHECK(dot.find("\"learner\" [label=\"learner\\npolicy\\n2 ranks of this host, shard full\"];") != std::string::npos);
  CHECK(dot.find("\"learner\" -> \"rollout\" [label=\"" + weights + "\", style=dashed, constraint=false];")
        != std::string::npos);
  CHECK(draw_mermaid(p).find("  role_learner -.->|" + weights + "| role_rollout\n") != std::string::npos);
  CHECK(draw_svg(p).find('>' + weights + '<') != std::string::npos);
}

TEST_CASE("the SVG has a box for each role, an arrow for each edge, and refers to nothing outside") {
  const std::string svg = draw_svg(parsed(with_reference));
  CHECK(count(svg, "class=\"name\"") == 5);
  CHECK(count(svg, "marker-end") == 6); // five edges and one publication
  CHECK(count(svg, "stroke-dasharray") == 1);
  CHECK(count(svg, "http") == 1); // the namespace
  CHECK(count(svg, "ref_logprob") == 1);
  CHECK(svg.ends_with("</svg>\n"));
}

TEST_CASE("notes stand below their role, three at most, in a picture that is wide enough") {
  const auto p = parsed(with_reference);
  const std::string svg =
      draw_svg(p, {{"rollout", {"<decoding>", "b", "c", "d"}}, {"learner", {std::string(80, 'x')}}});
  CHECK(count(svg, "&lt;decoding&gt;") == 1);
  CHECK(count(svg, ">c</text>") == 1);
  CHECK(count(svg, ">d</text>") == 0);
  CHECK(count(svg, "xxx...</text>") == 1);
  const auto width = [](const std::string& picture) { return std::stoi(picture.substr(picture.find("width=\"") + 7)); };
  CHECK(width(svg) > width(draw_svg(p)) + 80); // a note is wider than its box
}

TEST_CASE("an arrow over a layer passes beside the box between") {
  // The learner reads from the rollout directly as well as through the rules.
  const std::string svg = draw_svg(parsed(changed(valid, "from = [\"rules\"]", "from = [\"rollout\", \"rules\"]")));
  CHECK(count(svg, " L") >= 2);
}

} // namespace draw_test
