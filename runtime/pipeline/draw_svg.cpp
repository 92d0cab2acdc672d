#include "runtime/pipeline/draw.hpp"
#include "runtime/pipeline/wording.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace millrace::pipeline {
namespace {

// All lengths are pixels.
constexpr int margin = 24, box_height = 58, row_height = 118, gap = 150, small_line = 14, letter = 8, small_letter = 7;

/// A role, or the place in a layer between where a long arrow passes.
struct spot {
  std::string role; ///< empty: an arrow passes
  int layer = 0;
  int x = 0, y = 0; ///< left, middle
  int width = 0;
};

struct arrow {
  std::vector<std::size_t> through; ///< spots, from the giver to the reader
  std::vector<std::string> columns;
};

std::string text_at(int x, int y, const std::string& style, const std::string& text) {
  return "  <text x=\"" + std::to_string(x) + "\" y=\"" + std::to_string(y) + "\" class=\"" + style + "\">"
         + escaped(text) + "</text>\n";
}

std::string xy(int x, int y) {
  return std::to_string(x) + ' ' + std::to_string(y);
}

class picture {
public:
  explicit picture(const pipeline& p, const role_notes& notes = {}) : p_(p), notes_(notes) {
    place_layers();
    place_arrows();
    place_spots();
  }

  // After `text`.
  int width() const { return width_; }

  int height() const { return height_; }

  std::string text() {
    std::string body;
    for (const arrow& a : arrows_)
      body += lines_of(a);
    body += publications();
    for (const spot& s : spots_)
      if (!s.role.empty())
        body += box(s);
    for (const arrow& a : arrows_)
      body += label_of(a);
    const std::string size = "width=\"" + std::to_string(width_) + "\" height=\"" + std::to_string(height_) + "\"";
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" " + size + " viewBox=\"0 0 " + xy(width_, height_)
           + "\">\n"
             "  <title>"
           + escaped(p_.run.name)
           + "</title>\n"
             "  <style>text { font-family: sans-serif; text-anchor: middle; fill: #1b2733 } .name { font-size: 14px; "
             "font-weight: bold }"
             " .small { font-size: 11px; fill: #50606e } .column { font-size: 11px; fill: #1b5e8a }</style>\n"
             "  <defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" "
             "markerHeight=\"8\" orient=\"auto\">"
             "<path d=\"M0 0 L8 4 L0 8 z\" fill=\"#50606e\"/></marker></defs>\n"
             "  <rect "
           + size + " fill=\"#ffffff\"/>\n" + body + "</svg>\n";
  }

private:
  void place_layers() {
    for (const role& r : p_.roles) {
      int layer = 0;
      for (const std::string& from : r.from)
        layer = std::max(layer, spots_[of_role_.at(from)].layer + 1);
      const std::size_t widest =
          std::max(r.name.size() * letter, std::max(r.kind().size(), place_of(p_, r).size()) * small_letter);
      of_role_[r.name] = spots_.size();
      add({r.name, layer, 0, 0, static_cast<int>(widest) + 24});
    }
  }

  std::size_t add(spot s) {
    layers_.resize(std::max(layers_.size(), static_cast<std::size_t>(s.layer) + 1));
    layers_[static_cast<std::size_t>(s.layer)].push_back(spots_.size());
    spots_.push_back(std::move(s));
    return spots_.size() - 1;
  }

  void place_arrows() {
    for (const role& r : p_.roles)
      for (const std::string& from : r.from) {
        arrow a{{of_role_.at(from)}, columns_between(p_, from, r)};
        const std::size_t to = of_role_.at(r.name);
        for (int layer = spots_[a.through[0]].layer + 1; layer < spots_[to].layer; ++layer)
          a.through.push_back(add({"", layer, 0, 0, 0}));
        a.through.push_back(to);
        arrows_.push_back(std::move(a));
      }
  }

  void place_spots() {
    std::size_t rows = 1;
    for (const auto& layer : layers_)
      rows = std::max(rows, layer.size());
    const int beside = notes_.empty() ? margin : gap / 2; // a note is wider than its box
    int x = beside;
    for (const auto& layer : layers_) {
      int widest = 0;
      for (const std::size_t i : layer)
        widest = std::max(widest, spots_[i].width);
      int y = margin + row_height / 2 + static_cast<int>(rows - layer.size()) * row_height / 2;
      for (const std::size_t i : layer) {
        spots_[i].width = widest;
        spots_[i].x = x;
        spots_[i].y = y;
        y += row_height;
      }
      x += widest + gap;
    }
    width_ = x - gap + beside;
    bottom_ = margin + static_cast<int>(rows) * row_height;
    height_ = bottom_ + margin;
  }

  std::string box(const spot& s) const {
    const role& r = p_.at(s.role);
    const int middle = s.x + s.width / 2;
    return "  <rect x=\"" + std::to_string(s.x) + "\" y=\"" + std::to_string(s.y - box_height / 2) + "\" width=\""
           + std::to_string(s.width) + "\" height=\"" + std::to_string(box_height) + "\" rx=\"8\" fill=\""
           + (r.heavy() ? "#e3eefb" : "#f3f5f7") + "\" stroke=\"#50606e\"/>\n"
           + text_at(middle, s.y - 11, "name", s.role) + text_at(middle, s.y + 5, "small", std::string(r.kind()))
           + text_at(middle, s.y + 20, "small", place_of(p_, r)) + notes_below(s);
  }

  /// A note has the width of the box and half of the gaps beside it.
  std::string notes_below(const spot& s) const {
    const auto found = notes_.find(s.role);
    if (found == notes_.end())
      return {};
    constexpr std::size_t most = 3;
    const auto fits = static_cast<std::size_t>((s.width + gap) / small_letter);
    std::string out;
    for (std::size_t i = 0; i < std::min(found->second.size(), most); ++i) {
      const auto& line = found->second[i];
      const int y = s.y + box_height / 2 + static_cast<int>(i + 1) * (small_line - 2);
      out += text_at(s.x + s.width / 2, y, "small", line.size() > fits ? line.substr(0, fits - 3) + "..." : line);
    }
    return "  <g stroke=\"#ffffff\" stroke-width=\"4\" paint-order=\"stroke\">\n" + out + "  </g>\n"; // above arrows
  }

  std::string lines_of(const arrow& a) const {
    std::string path;
    for (std::size_t i = 0; i + 1 < a.through.size(); ++i) {
      const spot &s = spots_[a.through[i]], &t = spots_[a.through[i + 1]];
      const int x = s.x + s.width, middle = (x + t.x) / 2;
      path += (i == 0 ? "M" + xy(x, s.y) : " L" + xy(x, s.y)) + " C" + xy(middle, s.y) + ' ' + xy(middle, t.y) + ' '
              + xy(t.x, t.y);
    }
    return "  <path d=\"" + path + "\" fill=\"none\" stroke=\"#50606e\" marker-end=\"url(#head)\"/>\n";
  }

  /// The columns in the middle of the arrow's first stretch, above each other.
  std::string label_of(const arrow& a) const {
    if (a.columns.empty())
      return {};
    const spot &s = spots_[a.through[0]], &t = spots_[a.through[1]];
    const int x = (s.x + s.width + t.x) / 2, y = (s.y + t.y) / 2, lines = static_cast<int>(a.columns.size());
    std::size_t longest = 0;
    for (const std::string& column : a.columns)
      longest = std::max(longest, column.size());
    const int wide = static_cast<int>(longest) * small_letter + 6, high = lines * small_line + 2;
    std::string out = "  <rect x=\"" + std::to_string(x - wide / 2) + "\" y=\"" + std::to_string(y - high / 2)
                      + "\" width=\"" + std::to_string(wide) + "\" height=\"" + std::to_string(high)
                      + "\" rx=\"3\" fill=\"#ffffff\" fill-opacity=\"0.9\"/>\n";
    for (int i = 0; i < lines; ++i)
      out += text_at(x, y - high / 2 + (i + 1) * small_line - 2, "column", a.columns[static_cast<std::size_t>(i)]);
    return out;
  }

  std::string publications() {
    std::string out;
    int below = bottom_ + 6;
    for (const role* policy : p_.of<policy_table>())
      for (const std::string& to : std::get<policy_table>(policy->options).publishes_to) {
        const spot &s = spots_[of_role_.at(policy->name)], &t = spots_[of_role_.at(to)];
        const int from_x = s.x + s.width / 2, to_x = t.x + t.width / 2;
        out += "  <path d=\"M" + xy(from_x, s.y + box_height / 2) + " C" + xy(from_x, below) + ' ' + xy(from_x, below)
               + ' ' + xy(from_x - 40, below) + " L" + xy(to_x + 40, below) + " C" + xy(to_x, below) + ' '
               + xy(to_x, below) + ' ' + xy(to_x, t.y + box_height / 2)
               + "\" fill=\"none\" stroke=\"#b3541e\" stroke-dasharray=\"6 4\" marker-end=\"url(#head)\"/>\n"
               + text_at((from_x + to_x) / 2, below - 6, "small", published_by(p_, *policy));
        below += 22;
      }
    height_ = std::max(height_, below + margin - 16);
    return out;
  }

  const pipeline& p_;
  const role_notes notes_;
  std::vector<spot> spots_;
  std::map<std::string, std::size_t> of_role_;
  std::vector<std::vector<std::size_t>> layers_;
  std::vector<arrow> arrows_;
  int width_ = 0, height_ = 0, bottom_ = 0;
};

} // namespace

std::string draw_svg(const pipeline& p, const role_notes& notes) {
  return picture(p, notes).text();
}

std::string draw_svg(const std::vector<stage>& stages) {
  constexpr int heading = 24;
  std::string body;
  int width = 0, y = 0;
  for (const stage& s : stages) {
    picture drawn(s.what);
    const std::string text = drawn.text(), open = "<svg ";
    body += text_at(margin + static_cast<int>(s.name.size()) * 4, y + heading - 8, "name", s.name) + open + "y=\""
            + std::to_string(y + heading) + "\" " + text.substr(open.size());
    width = std::max(width, drawn.width());
    y += heading + drawn.height();
  }
  const std::string size = "width=\"" + std::to_string(width) + "\" height=\"" + std::to_string(y) + "\"";
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" " + size + ">\n  <title>" + escaped(name_of_run(stages))
         + "</title>\n" + "  <rect " + size + " fill=\"#ffffff\"/>\n" + body + "</svg>\n";
}

} // namespace millrace::pipeline
