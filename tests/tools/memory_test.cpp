#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <regex>

namespace memory_test {

// What saves memory changes nothing that is learned.

using namespace millrace::tests;

namespace {

strings with(const std::string& set) {
  return {"--set", set};
}

strings curve_of(const tiny_run& run, const strings& sets) {
  const auto done = run_to_end(run.start(sets), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  return run.files().learning_curve();
}

} // namespace

TEST_CASE("activation checkpointing of policy and critic leaves the learning curve as it is, bit for bit") {
  const tiny_pipeline pipeline{.steps = 4, .reference = true, .critic = true};
  const tiny_run kept(pipeline), recomputed(pipeline);
  const auto want = curve_of(kept, {});
  CHECK(curve_of(recomputed, {"--set", "roles.learner.activation_checkpointing=true", "--set",
                              "roles.critic.activation_checkpointing=true"})
        == want);
}

TEST_CASE("micro-batches side by side: the same curve for any number of threads, in replays and behind a resume") {
  const tiny_pipeline pipeline{.steps = 4, .reference = true, .critic = true};
  const tiny_run one(pipeline), two(pipeline), halves(pipeline);
  const auto on = [](const std::string& threads, const std::string& steps) { // what a critic says depends on its own
    return strings{"--set", "run.steps=" + steps,
                   "--set", "roles.learner.threads=" + threads,
                   "--set", "roles.learner.micro_batches_at_once=2",
                   "--set", "roles.critic.threads=1",
                   "--set", "roles.critic.micro_batches_at_once=2"};
  };
  const auto curve = curve_of(one, on("1", "4"));
  CHECK(curve_of(two, on("2", "4")) == curve);
  CHECK(one.files().metrics().front().at("micro_batches").get<double>() == 2);
  curve_of(halves, on("1", "2"));
  REQUIRE(run_to_end(halves.resume({"--set", "run.steps=4"}), 60).status == 0);
  CHECK(halves.files().learning_curve() == curve);
  const auto again = run_to_end(command_line({"replay", one.files().folder().string()}), 60);
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE(
    "a cache for one answer leaves the learning curve as it is, and a replay repeats it; a smaller one is refused") {
  const tiny_pipeline pipeline{.steps = 4, .max_new_tokens = 40};
  const tiny_run refused(pipeline), whole(pipeline), bounded(pipeline);
  const auto no = run_to_end(refused.start(with("roles.rollout.cache_bytes=1000")), 60);
  CAPTURE(no.err);
  CHECK(no.status == 1);
  std::smatch found;
  REQUIRE(std::regex_search(no.err, found, std::regex("cache_bytes: 1000, want at least ([0-9]+): one answer of")));
  const auto want = curve_of(whole, {});
  CHECK(curve_of(bounded, with("roles.rollout.cache_bytes=\"" + found[1].str() + " B\"")) == want);
  CHECK(read_file(bounded.files().folder() / "trace.json").find("waits_for_cache") != std::string::npos);
  const auto again = run_to_end(command_line({"replay", bounded.files().folder().string()}), 60);
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE("prompts with one system message compute it once a version, and what is learned stays, bit for bit") {
  const tiny_pipeline pipeline{
      .steps = 4, .source = "generator = { type = \"arithmetic\" }\nsystem = \"You add and say nothing but the sum.\""};
  const tiny_run shared(pipeline), apart(pipeline);
  const auto want = curve_of(apart, with("roles.rollout.prefix_cache=false"));
  CHECK(curve_of(shared, {}) == want);
  const auto one = shared.files().metrics().back(), other = apart.files().metrics().back();
  const auto found = one["tokens/prompt_found"].get<double>(), computed = one["tokens/prompt_computed"].get<double>();
  CHECK(other["tokens/prompt_found"] == 0);
  CHECK(found > 0);
  CHECK(computed < other["tokens/prompt_computed"].get<double>());
  CHECK(found + computed == other["tokens/prompt_computed"].get<double>());
  const auto again = run_to_end(command_line({"replay", shared.files().folder().string()}), 60);
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE("a dry run plans the bounded cache") {
  const tiny_run run;
  auto command = run.start(with("roles.rollout.cache_bytes=\"256 KiB\""));
  command.push_back("--dry-run");
  const auto done = run_to_end(command);
  CAPTURE(done.err);
  CHECK(done.status == 0);
  CHECK(std::regex_search(done.err, std::regex("rollout's cache +256.0 KiB")));
}

TEST_CASE("bytes are written with a unit or as a number, and anything else is refused in a line") {
  const tiny_run run;
  CHECK(run_to_end(run.check(with("roles.rollout.cache_bytes=\"1.5 GiB\""))).status == 0);
  CHECK(run_to_end(run.check(with("roles.rollout.cache_bytes=1500000000"))).status == 0);
  for (const char* bad : {"\"1.5\"", "\"many\"", "-1", "1.5", "true"}) {
    const auto done = run_to_end(run.check(with(std::string("roles.rollout.cache_bytes=") + bad)));
    CAPTURE(done.err);
    CHECK(done.status == 1);
    CHECK(done.err.find("want bytes as an integer, or as text with a unit such as \"24 GiB\"") != std::string::npos);
  }
}

namespace {

/// What `check --memory --json` says of a run.
nlohmann::json planned(const tiny_run& run, strings sets = {}) {
  sets.insert(sets.end(), {"--memory", "--json"});
  const auto done = run_to_end(run.check(sets));
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  return nlohmann::json::parse(done.out).at("memory");
}

/// Bytes of a kind that a process keeps for a role; 0: none.
std::int64_t bytes_of(const nlohmann::json& plan, const std::string& process, const std::string& role,
                      const std::string& kind) {
  for (const auto& one : plan.at("processes"))
    if (one.at("process") == process)
      for (const auto& part : one.at("parts"))
        if (part.at("role") == role && part.at("kind") == kind)
          return part.at("bytes");
  return 0;
}

constexpr std::int64_t tiny_weights = 28608 * 4;

} // namespace

TEST_CASE("the plan of memory: who takes adapters over the network keeps the model that they stand on, as its files "
          "have it") {
  const tiny_run run({.reference = true});
  const strings lora{"--set", "roles.learner.lora.rank=2",     "--set", "roles.frozen.refresh_every=1",
                     "--set", "placement.rollout.processes=1", "--set", "placement.frozen.processes=1"};
  const auto over = [&](const std::string& wire, strings sets) {
    sets.insert(sets.end(), {"--set", "placement.transport=" + wire});
    return planned(run, sets);
  };
  const auto far = over("tcp", lora), here = over("auto", lora),
             whole = over("tcp", strings(lora.begin() + 2, lora.end()));
  for (const char* role : {"rollout", "frozen"}) {
    CAPTURE(role);
    const auto staging = [&](const nlohmann::json& plan) {
      return bytes_of(plan, std::string(role) + "/0", role, "staging");
    };
    CHECK(staging(here) > 0);
    CHECK(staging(here) == staging(whole));
    CHECK(staging(far) == staging(here) + tiny_weights); // its file has fp32
  }
  const temporary_folder folder;
  const auto half = (folder / "half").string();
  REQUIRE(run_to_end(command_line({"convert", tiny_model().string(), half, "--dtype", "bfloat16"})).status == 0);
  const strings of_half{"--set", "models.tiny.path=" + half};
  auto with_half = lora;
  with_half.insert(with_half.end(), of_half.begin(), of_half.end());
  CHECK(bytes_of(over("tcp", with_half), "rollout/0", "rollout", "staging")
        == bytes_of(here, "rollout/0", "rollout", "staging") + tiny_weights / 2);
}

TEST_CASE("the plan of memory: what training and publishing keep of a model, by hand, and sums that add up") {
  const tiny_run run({.critic = true});
  const auto alone = planned(run);
  CHECK(bytes_of(alone, "run", "learner", "weights") == tiny_weights);
  CHECK(bytes_of(alone, "run", "learner", "moments") == 2 * tiny_weights);
  CHECK(bytes_of(alone, "run", "learner", "publication") == tiny_weights * 7 / 10); // and what lies in pieces
  const auto narrow = planned(run, {"--set", "models.tiny.dtype=bfloat16"});
  CHECK(bytes_of(narrow, "run", "learner", "publication") == tiny_weights / 2 * 7 / 10);
  CHECK(bytes_of(narrow, "run", "rollout", "weights") * 2 == bytes_of(alone, "run", "rollout", "weights"));
  CHECK(bytes_of(narrow, "run", "learner", "weights") == tiny_weights);
  const auto bytes = planned(run, {"--set", "models.tiny.rollout_dtype=int8"});
  // 1 byte a number and 2 for each 32 of them, where fp32 has 4 a number.
  CHECK(bytes_of(bytes, "run", "rollout", "weights") * 64 == bytes_of(alone, "run", "rollout", "weights") * 17);
  const auto placed =
      planned(run, {"--set", "models.tiny.rollout_dtype=int8", "--set", "placement.rollout.processes=1"});
  CHECK(bytes_of(placed, "rollout/0", "rollout", "staging") // as they come, and laid out
        == tiny_weights + bytes_of(bytes, "run", "rollout", "weights"));
  CHECK(bytes_of(bytes, "run", "learner", "publication") == bytes_of(alone, "run", "learner", "publication"));
  CHECK(bytes_of(alone, "run", "critic", "publication") == 0);
  CHECK(bytes_of(alone, "run", "critic", "activations") > 0);
  const auto ranks = planned(run, {"--set", "placement.learner.processes=2", "--set",
                                   "placement.learner.shard=optimizer", "--set", "placement.rollout.processes=1"});
  CHECK(bytes_of(ranks, "learner/0", "learner", "moments") == tiny_weights);
  CHECK(bytes_of(ranks, "learner/1", "learner", "moments") == tiny_weights);
  CHECK(bytes_of(ranks, "learner/1", "learner", "gradients") == tiny_weights + tiny_weights / 2);
  CHECK(bytes_of(ranks, "learner/1", "learner", "communication") == tiny_weights / 2); // the other's part for its sum
  CHECK(bytes_of(ranks, "learner/1", "learner", "publication") == 0);
  CHECK(bytes_of(ranks, "rollout/0", "rollout", "staging") > tiny_weights); // the next ones, as they come and laid out
  const auto shares = planned(run, {"--set", "placement.learner.processes=4", "--set", "placement.learner.shard=full",
                                    "--set", "placement.rollout.processes=1"});
  for (const std::string kind : {"weights", "gradients"})
    CHECK(bytes_of(shares, "learner/3", "learner", kind) == tiny_weights / 4);
  CHECK(bytes_of(shares, "learner/3", "learner", "moments") == tiny_weights / 2);
  CHECK(bytes_of(shares, "learner/3", "learner", "publication") == tiny_weights / 4 + tiny_weights / 4 * 7 / 10);
  CHECK(bytes_of(shares, "rollout/0", "rollout", "staging") // pulled, put together, and laid out
        == 2 * tiny_weights + bytes_of(shares, "rollout/0", "rollout", "weights"));
  for (const auto& plan : {alone, narrow, ranks, shares}) {
    std::int64_t all = 0;
    for (const auto& process : plan.at("processes")) {
      std::int64_t sum = 0;
      for (const auto& part : process.at("parts"))
        sum += part.at("bytes").get<std::int64_t>();
      CHECK(process.at("bytes") == sum);
      all += sum;
    }
    CHECK(plan.at("bytes") == all);
  }
}

TEST_CASE("the plan of memory: ranks that share everything out are alike, and a version that is evaluated is kept") {
  const tiny_run run;
  const auto ranks = planned(run, {"--set", "placement.learner.processes=2", "--set", "placement.learner.shard=full"});
  for (const char* kind : {"weights", "gradients", "moments", "activations", "communication"}) {
    CAPTURE(kind);
    CHECK(bytes_of(ranks, "learner/0", "learner", kind) > 0);
    CHECK(bytes_of(ranks, "learner/0", "learner", kind) == bytes_of(ranks, "learner/1", "learner", kind));
  }

  auto text = read_file(run / "tiny.toml");
  const std::string to = "publishes_to = [\"rollout\"";
  text.replace(text.find(to), to.size(), to + ", \"held_out\"");
  write_file(run / "tiny.toml", text
                                    + "[roles.held_out]\nkind = \"evaluation\"\nmodel = \"tiny\"\nevery = 2\nrows = 4\n"
                                      "generator = { type = \"arithmetic\" }\nrules = [ { type = \"number\" } ]\n");
  CHECK(bytes_of(planned(run), "run", "learner", "publication") == tiny_weights + tiny_weights * 7 / 10);
}

TEST_CASE("the plan of memory: what saves memory makes its part smaller, and no other larger") {
  const tiny_run run({.max_new_tokens = 64});
  const auto whole = planned(run);
  const auto saves = [&](const std::string& set, const std::string& role, const std::string& kind) {
    CAPTURE(set);
    const auto less = planned(run, {"--set", set});
    CHECK(bytes_of(less, "run", role, kind) < bytes_of(whole, "run", role, kind));
    CHECK(less.at("bytes") < whole.at("bytes"));
  };
  saves("roles.learner.activation_checkpointing=true", "learner", "activations");
  saves("roles.learner.micro_batch_tokens=128", "learner", "activations");
  // Computing in bfloat16 takes half of the weights more, and about half of the activations away.
  const auto half = planned(run, {"--set", "roles.learner.compute_dtype=bfloat16"});
  CHECK(bytes_of(half, "run", "learner", "weights") == bytes_of(whole, "run", "learner", "weights") * 3 / 2);
  CHECK(bytes_of(half, "run", "learner", "activations") * 10 < bytes_of(whole, "run", "learner", "activations") * 7);
  // Each micro-batch beside another one has gradients of its own. Together two are as long as one was, or longer.
  const auto two = planned(run, {"--set", "roles.learner.micro_batches_at_once=2"});
  CHECK(bytes_of(two, "run", "learner", "gradients") == bytes_of(whole, "run", "learner", "gradients") * 2);
  CHECK(bytes_of(two, "run", "learner", "activations") >= bytes_of(whole, "run", "learner", "activations"));
  CHECK(bytes_of(two, "run", "learner", "activations") < bytes_of(whole, "run", "learner", "activations") * 3 / 2);
  saves("roles.rollout.cache_bytes=262144", "rollout", "cache");
  saves("roles.rollout.slots=4", "rollout", "cache");
  // Four groups are live. Where all have slots at once, none that has left leaves anything to the others.
  const auto slots = planned(run, {"--set", "roles.rollout.slots=4"});
  const auto apart = planned(run, {"--set", "roles.rollout.slots=4", "--set", "roles.rollout.prefix_cache=false"});
  CHECK(bytes_of(slots, "run", "rollout", "cache") == bytes_of(apart, "run", "rollout", "cache") * 5 / 4);
  CHECK(bytes_of(planned(run, {"--set", "roles.rollout.prefix_cache=false"}), "run", "rollout", "cache")
        == bytes_of(whole, "run", "rollout", "cache"));
}

TEST_CASE("the plan of memory for a GPU that is not here: what lies there is none of this host's") {
  const tiny_run run;
  const auto host = planned(run), gpu = planned(run, {"--set", "run.device=cuda"});
  CHECK(gpu.at("gpu_bytes") > 0);
  CHECK(gpu.at("bytes").get<std::int64_t>() + gpu.at("gpu_bytes").get<std::int64_t>() == host.at("bytes"));
  // Of a rollout that alone has one, its own parts.
  const auto one = planned(run, {"--set", "roles.rollout.device=cuda:1"});
  std::int64_t there = 0;
  for (const auto& process : one.at("processes"))
    for (const auto& part : process.at("parts")) {
      if (part.at("gpu").get<bool>())
        there += part.at("bytes").get<std::int64_t>();
      CHECK(part.at("gpu").get<bool>() <= (part.at("role") == "rollout"));
    }
  CHECK(there > 0);
  CHECK(one.at("gpu_bytes") == there);
  CHECK(one.at("bytes").get<std::int64_t>() + there == host.at("bytes"));
}

TEST_CASE("a run that does not fit is refused before it starts, and the change that is named makes it fit") {
  const tiny_run run;
  const strings huge{"--set", "schedule.groups_per_step=500000", "--set", "roles.learner.micro_batch_tokens=16777216"};
  const auto refused = run_to_end(run.start(huge));
  CAPTURE(refused.err);
  CHECK(refused.status == 1);
  CHECK(std::count(refused.err.begin(), refused.err.end(), '\n') == 1);
  CHECK_FALSE(std::filesystem::exists(run.files().folder()));
  std::smatch found;
  REQUIRE(std::regex_search(refused.err, found,
                            std::regex("millrace: the run does not fit on this host: it may come to ([0-9.]+) GiB, "
                                       "found .* of memory.*; most are learner's activations in run, .*; it fits with "
                                       "--set (\\S+)\n")));
  auto smaller = huge;
  smaller.insert(smaller.end(), {"--set", found[2]});
  smaller.push_back("--memory");
  const auto fits = run_to_end(run.check(smaller));
  CAPTURE(fits.err);
  CHECK(fits.status == 0);
  CHECK(fits.out.find("the largest part") != std::string::npos);
  auto as_it_is = huge;
  as_it_is.push_back("--memory");
  const auto checked = run_to_end(run.check(as_it_is));
  CHECK(checked.status == 1);
  CHECK(checked.out.find("learner's activations") != std::string::npos); // the table all the same
  CHECK(checked.err == refused.err);
}

TEST_CASE(
    "memory for a host that is said: the changes that round numbers come last, and the change named makes it fit") {
  // Answers are long, whole and one at a time, so activations alone are large, and no shorter micro-batch helps them.
  const tiny_run run;
  const strings large{"--set", "roles.rollout.max_new_tokens=400",
                      "--set", "roles.learner.micro_batch_tokens=64",
                      "--set", "roles.learner.activation_checkpointing=true",
                      "--set", "roles.rollout.slots=1",
                      "--set", "roles.rollout.cache_bytes=1 MiB"};
  const auto said = [&](std::int64_t bytes, const strings& more = {}) {
    auto sets = millrace::tests::with(large, more);
    sets.insert(sets.end(), {"--memory", "--host-memory", std::to_string(bytes) + " B"});
    return run_to_end(run.check(sets));
  };
  const auto total = [&](const strings& more) {
    return planned(run, millrace::tests::with(large, more)).at("bytes").get<std::int64_t>();
  };
  const auto whole = total({}), narrow = total({"--set", "roles.rollout.cache_dtype=bfloat16"}),
             narrower = total({"--set", "roles.rollout.cache_dtype=int8"});
  REQUIRE(narrower < narrow);
  REQUIRE(narrow < whole);
  CHECK(said(whole).status == 0);
  const auto ends_with = [&](const std::string& text, const std::string& end) {
    CAPTURE(text);
    CHECK(text.ends_with(end + '\n'));
  };
  ends_with(said(whole - 1).err, "it fits with --set roles.rollout.cache_dtype=bfloat16");
  ends_with(said(narrow - 1).err, "it fits with --set roles.rollout.cache_dtype=int8");
  ends_with(said(1 << 20).err, "want a smaller model, or roles on other hosts");
  CHECK(said(narrow - 1, {"--set", "roles.rollout.cache_dtype=int8"}).status == 0);
  CHECK(said(whole).out.find("memory as said") != std::string::npos);

  const auto wrong = run_to_end(run.check({"--memory", "--gpu-memory", "much"}));
  CHECK(wrong.err == "millrace: --gpu-memory: found \"much\", want bytes such as \"24 GiB\"\n");
  const auto alone = run_to_end(run.check({"--host-memory", "24 GiB"}));
  CHECK(alone.status == 1);
  CHECK(alone.err.find("want --memory too") != std::string::npos);
}

TEST_CASE("compute_dtype is named where nothing but it makes a run fit") {
  const tiny_run run;
  const strings large{"--set", "roles.learner.micro_batch_tokens=64", "--set", "roles.rollout.slots=1",
                      "--set", "roles.rollout.cache_dtype=int8"};
  const auto with_learner = [&](const strings& more) {
    return planned(run, millrace::tests::with(large, more)).at("bytes").get<std::int64_t>();
  };
  const strings checkpointing{"--set", "roles.learner.activation_checkpointing=true"};
  const auto all = with_learner(checkpointing),
             half =
                 with_learner(millrace::tests::with(checkpointing, {"--set", "roles.learner.compute_dtype=bfloat16"}));
  REQUIRE(half < all);
  auto sets = millrace::tests::with(large, checkpointing);
  sets.insert(sets.end(), {"--memory", "--host-memory", std::to_string(all - 1) + " B"});
  const auto refused = run_to_end(run.check(sets));
  CAPTURE(refused.err);
  CHECK(refused.err.ends_with("it fits with --set roles.learner.compute_dtype=bfloat16\n"));
}

} // namespace memory_test
