#pragma once

#include "runtime/pipeline/errors.hpp"
#include "runtime/pipeline/placement_table.hpp"
#include "runtime/pipeline/position.hpp"
#include "runtime/pipeline/role_options.hpp"
#include "runtime/pipeline/run_table.hpp"
#include "runtime/pipeline/schedule_table.hpp"
#include "runtime/pipeline/vocabulary.hpp"

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace millrace::pipeline {

/// One `[roles.NAME]`: a function from columns to columns.
struct role {
  std::string name;
  std::vector<std::string> from; ///< names of the roles whose columns it joins
  std::int64_t threads = 0;      ///< 0 = auto: `threads_of`
  std::string device;            ///< where it computes; "" = as the run: `device_of`
  role_options options;
  std::vector<std::string> reads;          ///< columns, all of them added upstream
  std::vector<std::string> reads_if_added; ///< further columns that it has a use for and that are added upstream
  std::vector<std::string> adds;           ///< columns, none of them added upstream

  std::string_view kind() const;
  std::string_view summary() const;
  bool heavy() const;      ///< whether its work fills cores for long
  bool replicated() const; ///< whether it may run in several processes that know nothing of each other
  bool ranks() const;      ///< whether several processes of it are ranks that train as one

  bool operator==(const role&) const = default;
};

/// A checked pipeline: every name resolves, the graph has no cycle, every column that is read is added exactly once
/// upstream.
struct pipeline {
  std::filesystem::path file;               ///< absolute; where it was read from: of several files the last
  std::vector<std::filesystem::path> under; ///< absolute; the files that `file` was laid over, in order
  run_table run;
  std::map<std::string, model_table> models; ///< paths are absolute
  std::vector<role> roles;                   ///< a role stands after those it reads from; else in the file's order
  schedule_table schedule;
  placement_table placement;
  std::map<std::string, std::string> origins; ///< key path -> `file:line`, `--set ...`, `preset NAME` or `default`
  std::map<std::string, position> places;     ///< key path -> where it stands; of the keys that are written

  /// The role of this name. @throws std::out_of_range if there is none
  const role& at(std::string_view name) const;

  /// Roles of one kind: `p.of<rollout_table>()`, in the order of `roles`.
  template <class Table>
  std::vector<const role*> of() const {
    std::vector<const role*> found;
    for (const role& r : roles)
      if (std::holds_alternative<Table>(r.options))
        found.push_back(&r);
    return found;
  }

  /// The pipeline's one policy.
  const role& policy() const { return *of<policy_table>().at(0); }

  /// The names of the roles that read from `name`.
  std::vector<std::string> readers_of(std::string_view name) const;
  /// The roles that a group of the source `name` reaches, in the order of `roles`; not the source.
  std::vector<const role*> behind(std::string_view name) const;
  /// Processes that the role runs in beside the run's own; 0 = in the run's own.
  std::int64_t processes_of(std::string_view name) const;
  /// Where process `index` of the role runs: the name of a node; "" is this host.
  std::string host_of(std::string_view name, std::int64_t index) const;
  /// Whether all of the role runs on this host.
  bool is_here(std::string_view name) const;
  /// What the processes of the role share out.
  sharding shard_of(std::string_view name) const;

  /// A mistake that is found only when what the file names is opened: of the key of this path, or where that is not
  /// written of the table around it.
  /// @param path as `roles.rules.rules.0`  @param why one line: what was found, what was wanted
  mistake mistake_at(const std::string& path, const std::string& why) const;

  /// Same run: everything but the file's place and the origins.
  bool operator==(const pipeline& other) const;
};

/// Reads, overrides and checks a pipeline file.
///
/// @param file      TOML, UTF-8, at most 1 MiB, nested at most 32 deep. Relative paths in it start at its folder.
/// @param overrides `key.path=value`, in order; a later one wins. Values are TOML; a bare word is a string. Relative
///                  paths start at the current folder.
/// @throws pipeline_errors with every mistake at once
pipeline read_pipeline(const std::filesystem::path& file, const std::vector<std::string>& overrides = {},
                       const vocabulary& words = built_in_vocabulary());

/// The same from several files, each laid over those before it: tables merge key by key; a value or a list takes the
/// place of the earlier one. Relative paths start at the folder of the file that they stand in.
/// @param files at least one
pipeline read_pipeline(const std::vector<std::filesystem::path>& files, const std::vector<std::string>& overrides = {},
                       const vocabulary& words = built_in_vocabulary());

/// The same from text, named `name` in the messages, with relative paths starting at `folder`.
pipeline parse_pipeline(std::string_view text, const std::string& name, const std::filesystem::path& folder,
                        const std::vector<std::string>& overrides = {},
                        const vocabulary& words = built_in_vocabulary());

/// The pipeline as a file: every key spelled out, where its value came from as a trailing comment, paths absolute.
/// `read_pipeline` of it gives an equal pipeline.
std::string resolved_toml(const pipeline& p);

/// Threads of a role: its own `threads`, or with 0 the cores shared out. Heavy roles of this host that work at the same
/// time (all of them; in a synchronous schedule those that train, policy and critic) get an equal share, at least 1; a
/// light role gets 1.
/// @param cores of this host, >= 1
std::int64_t threads_of(const pipeline& p, std::string_view role, std::int64_t cores);

/// Where a role computes: "auto", "cpu", "cuda" or "cuda:N". Its own `device`, or the run's.
const std::string& device_of(const pipeline& p, const role& role);

/// The key that says it, for messages: "roles.NAME.device" or "run.device".
std::string device_key(const role& role);

/// The softmax temperature that answers are sampled at, of the first rollout; 1 where nothing is sampled.
double sampling_temperature(const pipeline& p);

/// Every key of the language as text, table by table: key, default, what it may be, meaning.
std::string key_reference(const vocabulary& words = built_in_vocabulary());

/// Where a role runs, as words: `this process`, `2 processes of this host`.
std::string place_of(const pipeline& p, const role& r);

/// The order of roles, what each reads and adds, and where it runs: what `millrace check` prints.
std::string describe(const pipeline& p);

} // namespace millrace::pipeline
