// See print_tensor.hpp.
#include "bindings/session/print_tensor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace peri::session {
namespace {

constexpr int64_t kSummariseAbove = 1000;
constexpr int64_t kEdge = 3;
constexpr int kLineWidth = 80;

// Positions of one dimension that are shown; -1 stands for "...".
std::vector<int64_t> shown(int64_t size, bool summarise) {
  std::vector<int64_t> positions;
  if (!summarise || size <= 2 * kEdge) {
    for (int64_t i = 0; i < size; ++i) positions.push_back(i);
    return positions;
  }
  for (int64_t i = 0; i < kEdge; ++i) positions.push_back(i);
  positions.push_back(-1);
  for (int64_t i = size - kEdge; i < size; ++i) positions.push_back(i);
  return positions;
}

class Printer {
 public:
  explicit Printer(const kernels::Tensor& t)
      : t_(t), total_(numel(t.type.shape)), summarise_(total_ > kSummariseAbove) {
    choose_format();
  }

  std::string text() {
    if (total_ == 0) return "";
    if (t_.type.shape.rank() == 0) return cell(0, 0) + "\n";
    if (scale_ != 1) out_ = fmt::format("{:g} *\n", scale_);
    print(0, 0, "");
    return out_;
  }

 private:
  // Visits what is shown and chooses: whole numbers, fixed with four decimals and a common factor, or
  // scientific.
  void choose_format() {
    double low = INFINITY, high = 0;
    visit(0, 0, [&](int64_t i) {
      const double v = read_element(t_, i);
      if (!std::isfinite(v)) return;
      whole_ = whole_ && v == std::floor(v) && std::abs(v) < 1e9;
      if (v != 0) low = std::min(low, std::abs(v));
      high = std::max(high, std::abs(v));
    });
    if (!is_float(t_.type.dtype)) whole_ = true;
    if (!whole_ && high > 0) {
      const int top = static_cast<int>(std::floor(std::log10(high)));
      scientific_ = std::log10(high) - std::log10(low) > 5.5;
      if (!scientific_ && (top > 4 || top < -2)) scale_ = std::pow(10.0, top);
    }
    visit(0, 0, [&](int64_t i) { width_ = std::max(width_, cell(i, 0).size()); });
  }

  template <class F>
  void visit(int dim, int64_t base, F f) {
    const Shape& shape = t_.type.shape;
    if (total_ == 0) return;
    if (dim == shape.rank()) return f(base);
    for (int64_t i : shown(shape[dim], summarise_))
      if (i >= 0) visit(dim + 1, base * shape[dim] + i, f);
  }

  std::string cell(int64_t index, size_t width) {
    const double v = read_element(t_, index);
    std::string text;
    if (t_.type.dtype == DType::boolean)
      text = v != 0 ? "true" : "false";
    else if (t_.type.dtype == DType::i64)
      text = std::to_string(exact(index));
    else if (std::isnan(v))
      text = "nan";
    else if (std::isinf(v))
      text = v > 0 ? "inf" : "-inf";
    else if (whole_)
      text = fmt::format("{:.0f}", v);
    else if (scientific_)
      text = fmt::format("{:.4e}", v);
    else
      text = fmt::format("{:.4f}", v / scale_);
    return fmt::format("{:>{}}", text, width);
  }

  int64_t exact(int64_t index) {
    int64_t value;
    std::memcpy(&value, t_.data() + index * 8, 8);
    return value;
  }

  void print_row(int64_t base, const std::vector<int64_t>& columns) {
    for (int64_t c : columns) out_ += " " + (c < 0 ? "..." : cell(base + c, width_));
    out_ += "\n";
  }

  // A matrix, folded into groups of columns that fit the line.
  void print_matrix(int64_t base, int64_t rows, int64_t columns) {
    const std::vector<int64_t> shown_columns = shown(columns, summarise_);
    const size_t per_line = std::max<size_t>(1, static_cast<size_t>(kLineWidth) / (width_ + 1));
    for (size_t begin = 0; begin < shown_columns.size(); begin += per_line) {
      const size_t end = std::min(begin + per_line, shown_columns.size());
      if (shown_columns.size() > per_line)
        out_ += fmt::format("Columns {} to {}\n", shown_columns[begin] + 1, shown_columns[end - 1] + 1);
      const std::vector<int64_t> part(shown_columns.begin() + static_cast<long>(begin),
                                      shown_columns.begin() + static_cast<long>(end));
      for (int64_t r : shown(rows, summarise_)) {
        if (r < 0)
          out_ += " ...\n";
        else
          print_row(base + r * columns, part);
      }
    }
  }

  void print(int dim, int64_t base, const std::string& prefix) {
    const Shape& shape = t_.type.shape;
    const int left = shape.rank() - dim;
    if (left == 1) {
      // A vector stands upright, as in Torch, unless it fits one line.
      const std::vector<int64_t> positions = shown(shape[dim], summarise_);
      if (positions.size() * (width_ + 1) <= kLineWidth) return print_row(base, positions);
      for (int64_t i : positions) out_ += i < 0 ? " ...\n" : " " + cell(base + i, width_) + "\n";
      return;
    }
    if (left == 2) {
      if (!prefix.empty()) out_ += fmt::format("({}.,.) =\n", prefix);
      return print_matrix(base, shape[dim], shape[dim + 1]);
    }
    int64_t inner = 1;
    for (int d = dim + 1; d < shape.rank(); ++d) inner *= shape[d];
    for (int64_t i : shown(shape[dim], summarise_)) {
      if (i < 0)
        out_ += "...\n";
      else
        print(dim + 1, base + i * inner, fmt::format("{}{},", prefix, i + 1));
    }
  }

  const kernels::Tensor& t_;
  int64_t total_;
  bool summarise_, whole_ = true, scientific_ = false;
  double scale_ = 1;
  size_t width_ = 1;
  std::string out_;
};

}  // namespace

double read_element(const kernels::Tensor& t, int64_t index) {
  const std::byte* p = t.data() + index * size_of(t.type.dtype);
  auto load = [p]<class T>(T value) {
    std::memcpy(&value, p, sizeof value);
    return value;
  };
  switch (t.type.dtype) {
    case DType::f32:
      return load(0.0f);
    case DType::f16:
      return f16_to_f32(load(uint16_t{0}));
    case DType::bf16:
      return bf16_to_f32(load(uint16_t{0}));
    case DType::i32:
      return load(int32_t{0});
    case DType::i64:
      return static_cast<double>(load(int64_t{0}));
    case DType::u8:
      return load(uint8_t{0});
    case DType::boolean:
      return load(uint8_t{0}) != 0;
  }
  return 0;
}

void write_element(const kernels::Tensor& t, int64_t index, double value) {
  std::byte* p = t.data() + index * size_of(t.type.dtype);
  auto store = [p](auto v) { std::memcpy(p, &v, sizeof v); };
  const double rounded = round_to(t.type.dtype, value);
  switch (t.type.dtype) {
    case DType::f32:
      return store(static_cast<float>(rounded));
    case DType::f16:
      return store(f32_to_f16(static_cast<float>(rounded)));
    case DType::bf16:
      return store(f32_to_bf16(static_cast<float>(rounded)));
    case DType::i32:
      return store(static_cast<int32_t>(rounded));
    case DType::i64:
      return store(static_cast<int64_t>(rounded));
    case DType::u8:
      return store(static_cast<uint8_t>(rounded));
    case DType::boolean:
      return store(static_cast<uint8_t>(rounded != 0));
  }
}

std::string print_tensor(const kernels::Tensor& t, const std::string& note) {
  std::string text = Printer(t).text();
  int64_t nans = 0, infinities = 0;
  const int64_t total = numel(t.type.shape);
  if (is_float(t.type.dtype))
    for (int64_t i = 0; i < total; ++i) {
      const double v = read_element(t, i);
      nans += std::isnan(v) ? 1 : 0;
      infinities += std::isinf(v) ? 1 : 0;
    }
  text += "[" + t.type.to_string();
  if (nans) text += fmt::format(", {} nan", nans);
  if (infinities) text += fmt::format(", {} inf", infinities);
  if (!note.empty()) text += ", " + note;
  return text + "]";
}

}  // namespace peri::session
