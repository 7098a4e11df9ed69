#include "kernels/timeline/timeline.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace peri::kernels {
namespace {

constexpr size_t kMaxPending = 64 << 10;         // bytes
constexpr int64_t kMaxPendingTime = 50'000'000;  // ns

// The length of the UTF-8 character that `text` begins with; 0 if it begins with none.
size_t character(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t length = byte(0) < 0x80 ? 1 : byte(0) < 0xC2 ? 0 : byte(0) < 0xE0 ? 2 : byte(0) < 0xF0 ? 3 : 4;
  if (length == 0 || byte(0) > 0xF4 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  if (length < 3) return length;
  // Too long a form, a surrogate, or beyond the last character.
  const bool wrong = (byte(0) == 0xE0 && byte(1) < 0xA0) || (byte(0) == 0xED && byte(1) > 0x9F) ||
                     (byte(0) == 0xF0 && byte(1) < 0x90) || (byte(0) == 0xF4 && byte(1) > 0x8F);
  return wrong ? 0 : length;
}

// As a JSON string. A path or a message may be in any encoding: what is not UTF-8 becomes "?".
std::string quoted(std::string_view text) {
  std::string result = "\"";
  while (!text.empty()) {
    const size_t length = character(text);
    const char c = text.front();
    if (length == 0)
      result += '?';
    else if (c == '"' || c == '\\')
      (result += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20)
      result += fmt::format("\\u{:04x}", static_cast<int>(c));
    else
      result += text.substr(0, length);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result + '"';
}

// The format counts in microseconds.
std::string microseconds(int64_t ns) {
  return fmt::format("{}.{:03}", ns / 1000, ns % 1000);
}

std::string_view without_comma(std::string_view members) {
  return members.substr(0, members.empty() ? 0 : members.size() - 1);
}

}  // namespace

void Label::add(std::string_view key, std::string_view text) {
  details += fmt::format("\"{}\":{},", key, quoted(text));
}

void Label::add(std::string_view key, int64_t number) {
  details += fmt::format("\"{}\":{},", key, number);
}

Timeline::Timeline(TimelineSink& sink, const JobOptions& job, const std::string& device, int64_t max_events)
    : sink_(sink), process_(getpid()), max_events_(max_events) {
  const auto name = [&](const char* what, int lane, const std::string& value) {
    append(fmt::format(R"({{"ph":"M","pid":{},"tid":{},"name":"{}","args":{{{}}}}})", process_, lane, what,
                       value));
  };
  const int script = static_cast<int>(Lane::script), stream = static_cast<int>(Lane::stream);
  name("process_name", script, "\"name\":" + quoted(fmt::format("rank {} ({})", job.rank, device)));
  name("process_sort_index", script, fmt::format("\"sort_index\":{}", job.rank));
  name("thread_name", script, "\"name\":\"script\"");
  name("thread_name", stream, "\"name\":\"stream\"");
  write();
}

void Timeline::add(Lane lane, const Label& label, int64_t start, int64_t end) {
  if (!count()) return;
  std::string details = label.details;
  if (label.bus_bytes > 0 && end > start)
    details += fmt::format("\"bus GB/s\":{:.4g},", label.bus_bytes / static_cast<double>(end - start));
  append(fmt::format(R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"name":{},"cat":"{}","args":{{{}}}}})",
                     process_, static_cast<int>(lane), microseconds(start), microseconds(end - start),
                     quoted(label.name), label.category, without_comma(details)));
}

void Timeline::add_instant(const Label& label) {
  if (count()) append_instant(label);
}

void Timeline::append_instant(const Label& label) {
  append(fmt::format(R"({{"ph":"i","s":"p","pid":{},"tid":{},"ts":{},"name":{},"cat":"{}","args":{{{}}}}})",
                     process_, static_cast<int>(Lane::script), microseconds(host_clock()), quoted(label.name),
                     label.category, without_comma(label.details)));
}

bool Timeline::count() {
  if (finished_ || is_full()) return false;
  if (++events_ < max_events_) return true;
  Label label{.name = fmt::format("the timeline takes no more than {} events of a rank", max_events_),
              .category = "timeline"};
  append_instant(label);
  fmt::print(stderr, "peri: {}\n", label.name);
  return false;
}

void Timeline::append(std::string_view event) {
  (pending_ += event) += ",\n";
  if (pending_.size() >= kMaxPending || host_clock() - written_at_ >= kMaxPendingTime) write();
}

void Timeline::write() {
  if (!pending_.empty()) sink_.write(pending_);
  pending_.clear();
  written_at_ = host_clock();
}

void Timeline::finish() {
  if (finished_) return;
  write();
  finished_ = true;
  sink_.finish();
}

}  // namespace peri::kernels
