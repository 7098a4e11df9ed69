#include "bindings/files/safetensors.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

namespace peri::files {
namespace {

std::unexpected<Error> system_error(const std::string& path, const char* doing, int why) {
  return fail(Code::IoError, fmt::format("{}: cannot {}: {}", path, doing, strerror(why)));
}

std::unexpected<Error> not_found(const std::string& path) {
  std::filesystem::path wanted(path), folder = wanted.parent_path();
  std::vector<std::string> names;
  std::error_code ignored;
  std::filesystem::directory_iterator entries(folder.empty() ? "." : folder, ignored), none;
  for (; !ignored && entries != none; entries.increment(ignored)) names.push_back(entries->path().filename());
  auto near = nearest(wanted.filename(), names);
  return fail(Code::NotFound, fmt::format("{}: no such file", path), {},
              near ? fmt::format("did you mean {}?", (folder / *near).string()) : "");
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  SafetensorsFile file;
  file.path_ = path;
  // Without O_NONBLOCK a named pipe would be waited for.
  file.descriptor_ = kernels::os::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.descriptor_.valid()) {
    if (errno == ENOENT) return not_found(path);
    return system_error(path, "open it", errno);
  }
  struct stat info{};
  if (fstat(file.descriptor_.get(), &info) != 0) return system_error(path, "read it", errno);
  if (!S_ISREG(info.st_mode)) return fail(Code::IoError, fmt::format("{}: it is not a file", path));
  file.bytes_ = static_cast<size_t>(info.st_size);
  file.header_ = PERI_TRY(read_safetensors_header(
      file.bytes_, [&](size_t offset, std::span<std::byte> to) { return file.read(offset, to); }, path));
  return file;
}

Result<const SafetensorsEntry*> SafetensorsFile::find(const std::string& name) const {
  std::vector<std::string> names;
  for (const SafetensorsEntry& entry : entries()) {
    if (entry.name == name) return &entry;
    names.push_back(entry.name);
  }
  auto near = nearest(name, names);
  return fail(Code::NotFound, fmt::format("{}: no tensor '{}'", path_, name), {},
              near ? fmt::format("did you mean '{}'?", *near) : "");
}

Status SafetensorsFile::read(size_t offset, std::span<std::byte> destination) const {
  for (size_t done = 0; done < destination.size();) {
    const ssize_t got = pread(descriptor_.get(), destination.data() + done, destination.size() - done,
                              static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(path_, "read it", errno);
    if (got == 0)
      return fail(
          Code::IoError,
          fmt::format("{}: it has become shorter since it was opened (it had {} bytes)", path_, bytes_));
    done += static_cast<size_t>(got);
  }
  return {};
}

Status SafetensorsFile::copy(const SafetensorsEntry& entry, std::span<std::byte> destination) const {
  if (destination.size() != entry.bytes)
    return fail(Code::InvalidArgument, fmt::format("{}: tensor '{}' has {} bytes, and its destination {}",
                                                   path_, entry.name, entry.bytes, destination.size()));
  return read(header_.data_begin + entry.offset, destination);
}

Status SafetensorsFile::copy_shard(const SafetensorsEntry& entry, int dim, int64_t index, int64_t count,
                                   std::span<std::byte> destination) const {
  const Shape shape = PERI_TRY(shard_shape(entry, dim, count));
  if (index < 0 || index >= count)
    return fail(Code::InvalidArgument, fmt::format("{}: tensor '{}': part {} of {} does not exist", path_,
                                                   entry.name, index, count));
  const size_t total = entry.bytes / static_cast<size_t>(count);
  if (destination.size() != total)
    return fail(Code::InvalidArgument,
                fmt::format("{}: a part of tensor '{}' has {} bytes, and its destination {}", path_,
                            entry.name, total, destination.size()));
  if (total == 0) return {};
  // The part is one run of bytes of each slab: of each index of the dimensions before `dim`. Short runs are
  // taken out of slabs that are read many at a time.
  size_t run = total;
  for (int i = 0; i < dim; ++i) run /= static_cast<size_t>(shape[i]);
  const size_t slab = run * static_cast<size_t>(count), within = static_cast<size_t>(index) * run;
  const size_t begin = header_.data_begin + entry.offset, slabs = total / run;
  constexpr size_t kShortRun = 16 << 10, kBuffer = 1 << 20;
  const size_t at_once = run < kShortRun ? std::max<size_t>(kBuffer / slab, 1) : 1;
  std::vector<std::byte> buffer;
  for (size_t i = 0; i < slabs; i += at_once) {
    if (run >= kShortRun) {
      PERI_TRY(read(begin + i * slab + within, destination.subspan(i * run, run)));
      continue;
    }
    buffer.resize(std::min(at_once, slabs - i) * slab);
    PERI_TRY(read(begin + i * slab, buffer));
    for (size_t k = 0; k * slab < buffer.size(); ++k)
      std::ranges::copy(std::span(buffer).subspan(k * slab + within, run),
                        destination.begin() + static_cast<std::ptrdiff_t>((i + k) * run));
  }
  return {};
}

Result<Shape> shard_shape(const SafetensorsEntry& entry, int dim, int64_t count) {
  if (dim < 0 || dim >= entry.shape.rank())
    return fail(Code::InvalidArgument, fmt::format("tensor '{}' of shape {} has no dimension {}", entry.name,
                                                   entry.shape.to_string(), dim + 1));
  if (count < 1)
    return fail(Code::InvalidArgument,
                fmt::format("tensor '{}' cannot be divided into {} parts", entry.name, count));
  if (entry.shape[dim] % count != 0)
    return fail(Code::ShapeMismatch,
                fmt::format("tensor '{}' of shape {}: dimension {} cannot be divided into {} equal parts",
                            entry.name, entry.shape.to_string(), dim + 1, count));
  Shape shape = entry.shape;
  shape[dim] /= count;
  return shape;
}

}  // namespace peri::files
