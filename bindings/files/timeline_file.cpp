#include "bindings/files/timeline_file.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>

#include "bindings/files/atomic_file.hpp"

namespace peri::files {
namespace {

// A part that is mapped to be read.
class Mapped {
 public:
  static Result<Mapped> create(int descriptor) {
    struct stat info{};
    fstat(descriptor, &info);
    Mapped mapped;
    if (info.st_size == 0) return mapped;
    mapped.bytes_ = static_cast<size_t>(info.st_size);
    mapped.data_ = mmap(nullptr, mapped.bytes_, PROT_READ, MAP_SHARED, descriptor, 0);
    if (mapped.data_ == MAP_FAILED)
      return fail(Code::IoError, fmt::format("the timeline's parts cannot be read: {}", strerror(errno)));
    return mapped;
  }
  Mapped(Mapped&& other) noexcept : data_(std::exchange(other.data_, MAP_FAILED)), bytes_(other.bytes_) {}
  Mapped& operator=(Mapped&&) = delete;
  ~Mapped() {
    if (data_ != MAP_FAILED) munmap(data_, bytes_);
  }
  std::string_view text() const {
    return data_ == MAP_FAILED ? std::string_view() : std::string_view(static_cast<char*>(data_), bytes_);
  }

 private:
  Mapped() = default;
  void* data_ = MAP_FAILED;
  size_t bytes_ = 0;
};

class RankSink final : public kernels::TimelineSink {
 public:
  RankSink(int descriptor, std::optional<TimelineFile> file)
      : descriptor_(descriptor), file_(std::move(file)) {}

  void write(std::string_view events) override {
    while (!events.empty() && !failed_) {
      const ssize_t count = ::write(descriptor_, events.data(), events.size());
      if (count > 0)
        events.remove_prefix(static_cast<size_t>(count));
      else if (errno != EINTR)
        stop({Code::IoError, fmt::format("the timeline ends here: {}", strerror(errno)), {}, {}, {}});
    }
  }
  void finish() override {
    if (!file_) return;
    if (Status written = file_->write(); !written) stop(written.error());
  }

 private:
  // A program is not ended for its timeline.
  void stop(const Error& error) {
    fmt::print(stderr, "peri: {}\n", error.to_string());
    failed_ = true;
  }

  int descriptor_;
  std::optional<TimelineFile> file_;  // of a rank that nobody else writes it for
  bool failed_ = false;
};

}  // namespace

Result<TimelineFile> TimelineFile::create(const std::string& path, int parts) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return fail(Code::IoError, path + ": cannot write it: a folder");
  PERI_TRY(AtomicFile::create(path));  // gone at once: only whether it can be
  TimelineFile file;
  file.path_ = path;
  for (int i = 0; i < parts; ++i) {
    kernels::os::Fd part(memfd_create("peri-timeline", MFD_CLOEXEC));
    if (!part.valid())
      return fail(Code::IoError, fmt::format("no memory for a timeline: {}", strerror(errno)));
    file.parts_.push_back(std::move(part));
  }
  return file;
}

std::vector<int> TimelineFile::descriptors() const {
  std::vector<int> descriptors;
  for (const kernels::os::Fd& part : parts_) descriptors.push_back(part.get());
  return descriptors;
}

Status TimelineFile::write() const {
  auto is_empty = [](const kernels::os::Fd& part) {
    struct stat info{};
    return fstat(part.get(), &info) == 0 && info.st_size == 0;
  };
  if (std::all_of(parts_.begin(), parts_.end(), is_empty)) return {};
  AtomicFile file = PERI_TRY(AtomicFile::create(path_));
  auto put = [&](std::string_view text) { return file.write(text.data(), text.size()); };
  constexpr std::string_view kBetween = ",\n";
  PERI_TRY(put("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"));
  bool first = true;
  for (const kernels::os::Fd& part : parts_) {
    const Mapped mapped = PERI_TRY(Mapped::create(part.get()));
    // A rank that was killed may have been writing: an event counts with what follows it.
    const size_t end = mapped.text().rfind(kBetween);
    if (end == std::string_view::npos) continue;
    if (!first) PERI_TRY(put(kBetween));
    PERI_TRY(put(mapped.text().substr(0, end)));
    first = false;
  }
  PERI_TRY(put("\n]}\n"));
  return file.take_place();
}

Result<std::unique_ptr<kernels::TimelineSink>> rank_timeline(const std::string& path, int rank,
                                                             const Environment& environment) {
  if (environment.timeline) {
    // Programs that the script starts do not inherit it.
    if (fcntl(*environment.timeline, F_SETFD, FD_CLOEXEC) != 0)
      return fail(Code::InvalidArgument,
                  "the environment variable PERI_TIMELINE names no open file; it is not for users");
    return std::make_unique<RankSink>(*environment.timeline, std::nullopt);
  }
  TimelineFile file = PERI_TRY(TimelineFile::create(fmt::format("{}.{}", path, rank), 1));
  const int descriptor = file.descriptors()[0];
  return std::make_unique<RankSink>(descriptor, std::move(file));
}

}  // namespace peri::files
