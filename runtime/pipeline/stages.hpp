#pragma once

#include "runtime/pipeline/pipeline.hpp"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::pipeline {

// A file may hold several `[[stage]]`s: each has a `name` and is a pipeline of its own, which has the tables at the top
// of the file too, key by key, where it does not say otherwise. Stages run one after another. The path of a model may
// be "stage:NAME": the weights that the earlier stage NAME ended with, or its best ones where it keeps them;
// "stage:NAME/PART" is another folder of that checkpoint, such as "stage:sft/ema". A stage's run is called
// `<run.name>.<name>` unless it says its own.

/// One stage of a file; of a file without stages, the whole file under the name "".
struct stage {
  std::string name;
  pipeline what;
};

/// A path of the form "stage:NAME" or "stage:NAME/PART".
struct stage_reference {
  std::string stage;
  std::string part = "model"; ///< folder of the checkpoint
};

/// @returns nothing for any other path
std::optional<stage_reference> stage_reference_of(const std::filesystem::path& path);

/// Reads and checks a file as `read_pipeline` does, with stages or without. `--set stage.NAME.run.steps=3` sets a key
/// of one stage; a key at the top holds for the stages that do not say otherwise.
/// @throws pipeline_errors with every mistake of every stage at once, e.g. a "stage:NAME" that is no earlier stage
std::vector<stage> read_stages(const std::filesystem::path& file, const std::vector<std::string>& overrides = {},
                               const vocabulary& words = built_in_vocabulary());

/// The same from several files, each laid over those before it as `read_pipeline` does. The stages of a later file take
/// the place of all earlier ones: they are a list.
std::vector<stage> read_stages(const std::vector<std::filesystem::path>& files,
                               const std::vector<std::string>& overrides = {},
                               const vocabulary& words = built_in_vocabulary());

/// The same from text, as `parse_pipeline`.
std::vector<stage> parse_stages(std::string_view text, const std::string& name, const std::filesystem::path& folder,
                                const std::vector<std::string>& overrides = {},
                                const vocabulary& words = built_in_vocabulary());

/// Whether there are stages, not one plain pipeline.
bool is_staged(const std::vector<stage>& stages);

/// What the run of a staged file is called: the first stage's name of the run without the stage's own.
std::string name_of_run(const std::vector<stage>& stages);

/// The stages as a file, every key spelled out: `read_stages` of it gives equal stages.
std::string resolved_stages(const std::vector<stage>& stages);

/// The pipeline with every reference to a stage replaced.
/// @param folder_of the folder of a stage's checkpoint part
pipeline with_references(pipeline p, const std::function<std::filesystem::path(const stage_reference&)>& folder_of);

/// What `millrace check` prints of each stage in turn.
std::string describe(const std::vector<stage>& stages);

} // namespace millrace::pipeline
