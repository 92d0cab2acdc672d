#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace millrace::tools {

/// What a subcommand does once the line is parsed; returns the exit status. Bad input is thrown as `input_error`.
using command = std::function<int()>;

// Each adds its subcommand (name, options, help) to `root`: tools/commands/<name>.cpp.
command add_run(CLI::App& root);
command add_report(CLI::App& root);
command add_replay(CLI::App& root);
command add_resume(CLI::App& root);
command add_check(CLI::App& root);
command add_algorithm(CLI::App& root);
command add_graph(CLI::App& root);
command add_plan(CLI::App& root);
command add_schedule(CLI::App& root);
command add_status(CLI::App& root);
command add_convert(CLI::App& root);
command add_evaluate(CLI::App& root);
command add_generate(CLI::App& root);
command add_score(CLI::App& root);
command add_tokenize(CLI::App& root);
command add_node(CLI::App& root);
command add_worker(CLI::App& root);

} // namespace millrace::tools
