#include "runtime/pipeline/layers.hpp"

#include "runtime/pipeline/wording.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace millrace::pipeline {
namespace {

/// Says of everything in `v` which layer it stands in.
void number(value& v, std::uint32_t file) {
  v.where.file = file;
  for (value& item : v.items)
    number(item, file);
  for (member& m : v.members) {
    m.where.file = file;
    number(m.is, file);
  }
}

} // namespace

std::string text_of_file(const std::filesystem::path& file) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(file, failed))
    throw input_error(printable(file.string()) + ": "
                      + (std::filesystem::exists(file, failed) ? "not a file" : "no such file")
                      + ", want a pipeline in TOML");
  if (std::filesystem::file_size(file, failed) > (1 << 20))
    throw input_error(printable(file.string()) + ": larger than 1 MiB, want a pipeline in TOML");
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in)
    throw input_error(printable(file.string()) + ": cannot be read, want a pipeline in TOML");
  return text;
}

std::vector<layer> texts_of(const std::vector<std::filesystem::path>& files) {
  std::vector<layer> layers;
  for (const auto& file : files)
    layers.push_back({text_of_file(file), file.string(), std::filesystem::absolute(file).parent_path()});
  return layers;
}

value merged(value under, const value& over) {
  if (under.kind != value::type::table || over.kind != value::type::table)
    return over;
  for (const member& m : over.members) {
    const auto own =
        std::find_if(under.members.begin(), under.members.end(), [&](const member& u) { return u.key == m.key; });
    if (own == under.members.end())
      under.members.push_back(m);
    else
      *own = {m.key, m.where, merged(std::move(own->is), m.is)};
  }
  under.where = over.where;
  return under;
}

document laid_over(std::span<const layer> layers) {
  document out;
  std::vector<mistake> mistakes;
  for (const layer& each : layers) {
    const auto file = static_cast<std::uint32_t>(out.files.size());
    out.folders.push_back(each.folder);
    out.files.push_back((each.folder / std::filesystem::path(each.name).filename()).lexically_normal());
    try {
      value root = parse_document(each.text, each.name);
      number(root, file);
      out.root = merged(std::move(out.root), root);
    } catch (const pipeline_errors& wrong) {
      for (mistake m : wrong.mistakes()) {
        m.where.file = file;
        mistakes.push_back(std::move(m));
      }
    }
  }
  if (!mistakes.empty())
    throw pipeline_errors(std::move(mistakes));
  out.root.where = {layers.front().name, 1, 1}; // what is missing altogether is missing in the first
  return out;
}

void name_files(pipeline& p, const document& from) {
  p.file = from.files.back();
  p.under.assign(from.files.begin(), from.files.end() - 1);
}

} // namespace millrace::pipeline
