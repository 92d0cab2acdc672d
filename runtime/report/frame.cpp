#include "runtime/report/frame.hpp"

#include <algorithm>
#include <cmath>

namespace millrace::report {
namespace {

void widen(double& low, double& high) {
  if (!(high > low)) {
    const double by = std::max(std::abs(low) * 0.1, 0.5);
    low -= by;
    high += by;
  }
}

} // namespace

std::string in_figures(double value, int digits) {
  if (!std::isfinite(value))
    return "–";
  if (std::abs(value) < 10'000)
    return std::abs(value) < std::pow(10, digits) ? printed("%.*g", digits, value) : printed("%.0f", value);
  const std::string whole = printed("%.0f", value);
  std::string out;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (i > (value < 0) && (whole.size() - i) % 3 == 0)
      out += ',';
    out += whole[i];
  }
  return out;
}

std::vector<double> ticks_between(double low, double high, int count) {
  const double rough = (high - low) / std::max(count, 1);
  if (!(rough > 0) || !std::isfinite(rough))
    return {low};
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double nice : {5.0, 2.0, 1.0})
    if (nice * power >= rough)
      step = nice * power;
  std::vector<double> ticks;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + step * 1e-9; ++k)
    ticks.push_back(k == 0 ? 0 : k * step);
  return ticks;
}

frame::frame(double x_low, double x_high, double y_low, double y_high)
    : x_low_(x_low), x_high_(x_high), y_low_(y_low), y_high_(y_high) {
  widen(x_low_, x_high_);
  widen(y_low_, y_high_);
}

double frame::x(double value) const {
  return left + (value - x_low_) / (x_high_ - x_low_) * (width - left - right);
}

double frame::y(double value) const {
  return height - bottom - (value - y_low_) / (y_high_ - y_low_) * (height - top - bottom);
}

std::string frame::axes(std::string_view x_name, std::string_view y_name, x_axis x_shows) const {
  std::string out;
  for (const double tick : ticks_between(y_low_, y_high_)) {
    out += printed("<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", left, width - right, y(tick),
                   y(tick));
    out += printed("<text class=\"tick\" text-anchor=\"end\" x=\"%d\" y=\"%.1f\">", left - 6, y(tick) + 4)
           + in_figures(tick) + "</text>";
  }
  for (const double tick : x_shows == x_axis::numbers ? ticks_between(x_low_, x_high_, 8) : std::vector<double>{})
    out += printed("<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">", x(tick), height - bottom + 15)
           + in_figures(tick) + "</text>";
  out += printed("<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>", left, width - right, height - bottom,
                 height - bottom);
  out +=
      printed("<text class=\"name\" text-anchor=\"middle\" x=\"%d\" y=\"%d\">", (left + width - right) / 2, height - 4)
      + escaped(x_name) + "</text>";
  out += printed("<text class=\"name\" text-anchor=\"middle\" transform=\"translate(12 %d) rotate(-90)\">",
                 (top + height - bottom) / 2)
         + escaped(y_name) + "</text>";
  return out;
}

std::string figure(std::string_view title, int width, int height, std::string_view body, std::string_view legend) {
  std::string out = "<figure class=\"chart\"><figcaption>" + escaped(title) + "</figcaption>";
  if (!legend.empty())
    out += "<div class=\"legend\">" + std::string(legend) + "</div>";
  return out + printed("<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", width, height) + escaped(title) + "\">"
         + std::string(body) + "</svg></figure>\n";
}

std::string legend_entry(std::string_view css_class, std::string_view word) {
  return "<span><i class=\"" + std::string(css_class) + "\"></i>" + escaped(word) + "</span>";
}

} // namespace millrace::report
