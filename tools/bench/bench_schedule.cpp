// What the scheduler costs, in processor time: one event by what it led to, at 100, 1,000 and 10,000 live groups; then
// a million groups through as many places under virtual time, by two workloads: batches of 64 groups whatever the
// number of places, so that an answer meets a hundred times as many versions, and batches of half the places. Each size
// is measured several times in turn; the fastest counts. Ends with how much more an event costs at 10,000 than at 100:
// with everything that virtual time does for it (its agenda, lengths, tokens by version), and for the scheduler alone,
// which is given the same events again, some thousands in a row.
//
//     bench_schedule [groups through virtual time, default 1000000] [rounds, default 3]
#include "runtime/schedule/event_text.hpp"
#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/virtual_time.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace millrace;
using namespace millrace::schedule;

namespace {

constexpr std::uint32_t batch = 64;   // groups
constexpr std::uint32_t steps = 2000; // updates trained in each measurement
constexpr std::uint32_t sizes[] = {100, 1000, 10000};

/// Processor time of this thread, so that what else the machine does is not counted.
double cpu_us() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

/// What asking for the time costs, which is in every single measurement.
double cost_of_clock() {
  std::vector<double> all;
  for (int i = 0; i < 10001; ++i) {
    const auto start = cpu_us();
    all.push_back(cpu_us() - start);
  }
  std::nth_element(all.begin(), all.begin() + 5000, all.end());
  return all[5000];
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
      std::printf("%7u live  %-46s %7zu times  mean %6.2f us  median %6.2f us  99 %% %6.2f us\n", live_, what.c_str(),
                  each.size(), sum / static_cast<double>(each.size()), each[each.size() / 2],
                  each[each.size() * 99 / 100]);
    }
  }

private:
  static config settings(std::uint32_t live) {
    auto result = preset("bounded");
    result.groups_per_step = batch;
    result.steps = 10 * steps;
    // One batch beyond the places is ready or trained.
    result.gate.depth = (live + batch) / batch;
    result.stale.max = std::floor(result.gate.depth) + 1000;
    return result;
  }

  void feed(const event& what) {
    const auto start = cpu_us();
    const auto& actions = scheduler_.on(what, 0);
    const auto cost = cpu_us() - start - clock_us_;
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
  double clock_us_ = cost_of_clock();
  std::mt19937_64 random_{1};
  std::vector<std::pair<group_id, std::uint32_t>> running_;
  bool training_ = false;
  std::map<std::string, std::vector<double>> costs_;
};

struct measured {
  double us = 1e300;           ///< an event
  double scheduler_us = 1e300; ///< of that, inside `scheduler::on`
  std::uint64_t events = 0;
  prediction made;
};

/// Microseconds that a scheduler takes for all events of the run.
double scheduler_alone(const config& set, const workload& costs) {
  constexpr std::size_t in_a_row = 256;
  scheduler alone(set);
  std::vector<std::pair<event, double>> events;
  double us = 0;
  const auto replay = [&] {
    const auto start = cpu_us();
    for (const auto& [what, now_s] : events)
      alone.on(what, now_s);
    us += cpu_us() - start;
    events.clear();
  };
  simulate(set, costs, [&](const event& what, const std::vector<action>&, const scheduler&, double now_s) {
    events.emplace_back(what, now_s);
    if (events.size() == in_a_row)
      replay();
  });
  replay();
  if (!alone.finished())
    throw std::logic_error("the same events led elsewhere");
  return us;
}

void through_places(std::uint32_t places, std::uint32_t groups_per_step, std::uint64_t groups, measured& best) {
  auto set = preset("bounded");
  set.groups_per_step = groups_per_step;
  set.steps = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, groups / groups_per_step));
  set.gate.depth = places / groups_per_step; // as many groups live as there are places, and a batch
  set.stale.max = std::floor(set.gate.depth) + 4;
  workload costs;
  costs.workers = 10;
  costs.groups_per_worker = places / 10;
  costs.mean_tokens = 1000;
  costs.length_cv = 1;
  costs.max_tokens = 8000;
  costs.train_s = 0.01;
  costs.publish_s = 0.001;
  std::uint64_t events = 0;
  const auto start = cpu_us();
  auto made =
      simulate(set, costs, [&](const event&, const std::vector<action>&, const scheduler&, double) { ++events; });
  const auto us = (cpu_us() - start) / static_cast<double>(events);
  if (us < best.us) {
    best.us = us;
    best.events = events;
    best.made = std::move(made);
  }
  best.scheduler_us = std::min(best.scheduler_us, scheduler_alone(set, costs) / static_cast<double>(events));
}

} // namespace

int main(int count, char** arguments) {
  for (const auto live : sizes)
    steady_run(live).measure();
  const auto groups = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1'000'000;
  const auto rounds = count > 2 ? std::atoi(arguments[2]) : 3;
  for (const bool fixed : {true, false}) {
    std::map<std::uint32_t, measured> best;
    for (int round = 0; round < rounds; ++round)
      for (const auto places : sizes)
        through_places(places, fixed ? batch : places / 2, groups, best[places]);
    for (const auto& [places, one] : best)
      std::printf("%7u places  batches of %-5u  %lld groups in %u steps, %llu events: %.2f s, %.2f us an event, %.2f "
                  "of them the scheduler\n",
                  places, fixed ? batch : places / 2, static_cast<long long>(one.made.books.trained.groups),
                  one.made.steps, static_cast<unsigned long long>(one.events),
                  one.us * static_cast<double>(one.events) / 1e6, one.us, one.scheduler_us);
    std::printf(
        "10,000 places over 100, batches of %s: %.2f times the cost of an event; of the scheduler alone %.2f times\n",
        fixed ? "64" : "half the places", best[10000].us / best[100].us,
        best[10000].scheduler_us / best[100].scheduler_us);
  }
  return 0;
}
