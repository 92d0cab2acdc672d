// Microseconds of one event of the scheduler by what it led to, at 100, 1,000 and 10,000 live groups; then groups a
// second through 10,000 places under virtual time.
//
//     bench_schedule [groups through virtual time, default 1000000]
#include "runtime/schedule/event_text.hpp"
#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/virtual_time.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

using namespace millrace::schedule;

namespace {

constexpr std::uint32_t batch = 64;   // groups
constexpr std::uint32_t steps = 2000; // updates trained in each measurement

double microseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

/// A run kept at `live` groups over ten workers: groups end in random order, batches are trained at once.
class steady_run {
public:
  explicit steady_run(std::uint32_t live) : scheduler_(settings(live)), live_(live) {
    for (worker_id id = 0; id < 10; ++id)
      feed(worker_joined{id, live / 10, 0, "rollout"});
    costs_.clear();
  }

  void measure() {
    while (scheduler_.at().step < steps) {
      const auto which = random_() % running_.size();
      const auto [id, attempt] = running_[which];
      running_[which] = running_.back();
      running_.pop_back();
      const auto version = scheduler_.at().step;
      feed(group_finished{id, attempt, {{version, 100}}});
      feed(group_ready{id, attempt});
      if (!training_)
        continue;
      training_ = false;
      feed(batch_trained{version, scheduler_.books().live(group_state::training).tokens});
      for (worker_id worker = 0; worker < 10; ++worker)
        feed(version_acknowledged{worker, version + 1});
    }
    for (auto& [what, each] : costs_) {
      std::sort(each.begin(), each.end());
      double sum = 0;
      for (const auto one : each)
        sum += one;
      std::printf("%7u live  %-52s %8zu times  mean %7.2f us  median %7.2f us  99 %% %7.2f us\n", live_, what.c_str(), each.size(),
                  sum / static_cast<double>(each.size()), each[each.size() / 2], each[each.size() * 99 / 100]);
    }
  }

private:
  static config settings(std::uint32_t live) {
    auto result = preset("bounded");
    result.groups_per_step = batch;
    result.steps = 10 * steps;
    result.depth = static_cast<double>(live) / batch - 1 + 1.5;
    result.stale_max = static_cast<std::uint32_t>(result.depth) + 1000;
    return result;
  }

  void feed(const event& what) {
    const auto start = std::chrono::steady_clock::now();
    const auto actions = scheduler_.on(what, 0);
    const auto cost = microseconds_since(start);
    std::map<std::string, int> led_to;
    for (const auto& one : actions) {
      if (const auto* started = std::get_if<admit>(&one)) {
        running_.emplace_back(started->group, started->attempt);
        ++led_to["admissions"];
      }
      if (std::holds_alternative<cut>(one)) {
        training_ = true;
        ++led_to["cut of 64 groups"];
      }
      if (std::holds_alternative<publish>(one))
        ++led_to["publication to 10 workers"];
    }
    const auto text = event_text(what);
    std::string label = text.substr(0, text.find(' '));
    for (const auto& [name, count] : led_to)
      label += " -> " + (name == "admissions" ? (count == 1 ? "1 admission" : "admissions") : name);
    costs_[label].push_back(cost);
  }

  scheduler scheduler_;
  std::uint32_t live_;
  std::mt19937_64 random_{1};
  std::vector<std::pair<group_id, std::uint32_t>> running_;
  bool training_ = false;
  std::map<std::string, std::vector<double>> costs_;
};

} // namespace

int main(int count, char** arguments) {
  for (const auto live : {100u, 1000u, 10000u})
    steady_run(live).measure();
  const auto groups = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1'000'000;
  for (const auto places : {100u, 1000u, 10000u}) {
    auto set = preset("bounded");
    // A fleet a hundred times as large trains batches a hundred times as large: a group sees as many versions in each.
    set.groups_per_step = places / 2;
    set.steps = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, groups / set.groups_per_step));
    set.depth = 1; // as many groups live as there are places
    set.stale_max = 6;
    workload costs;
    costs.workers = 10;
    costs.groups_per_worker = places / 10;
    costs.mean_tokens = 1000;
    costs.length_cv = 1;
    costs.max_tokens = 8000;
    costs.train_s = 0.01;
    costs.publish_s = 0.001;
    const auto start = std::chrono::steady_clock::now();
    std::uint64_t events = 0;
    const auto result = simulate(set, costs, [&](const event&, const std::vector<action>&, const scheduler&, double) { ++events; });
    const auto seconds = microseconds_since(start) / 1e6;
    std::printf("%7u places  %lld groups in %u steps, %llu events: %.2f s, %.2f us an event\n", places,
                static_cast<long long>(result.books.trained.groups), result.steps, static_cast<unsigned long long>(events), seconds,
                seconds * 1e6 / static_cast<double>(events));
  }
  return 0;
}
