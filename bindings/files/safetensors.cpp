#include "bindings/files/safetensors.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

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
  const size_t size = static_cast<size_t>(info.st_size);
  if (size > 0) {  // an empty file cannot be mapped; the parser refuses it
    void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.descriptor_.get(), 0);
    if (address == MAP_FAILED) return system_error(path, "map it", errno);
    file.mapping_ = {static_cast<const std::byte*>(address), size};
  }
  file.header_ = PERI_TRY(parse_safetensors(file.mapping_, path));
  return file;
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::move(other.descriptor_)),
      mapping_(std::exchange(other.mapping_, {})),
      header_(std::move(other.header_)) {}

SafetensorsFile::~SafetensorsFile() {
  if (!mapping_.empty()) munmap(const_cast<std::byte*>(mapping_.data()), mapping_.size());
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

std::span<const std::byte> SafetensorsFile::bytes(const SafetensorsEntry& entry) const {
  return mapping_.subspan(header_.data_begin + entry.offset, entry.bytes);
}

Status SafetensorsFile::still_whole() const {
  struct stat info{};
  if (fstat(descriptor_.get(), &info) != 0) return system_error(path_, "read it", errno);
  if (static_cast<size_t>(info.st_size) >= mapping_.size()) return {};
  return fail(Code::IoError,
              fmt::format("{}: it has become shorter since it was opened ({} bytes, it had {})", path_,
                          info.st_size, mapping_.size()));
}

Status SafetensorsFile::copy(const SafetensorsEntry& entry, std::span<std::byte> destination) const {
  if (destination.size() != entry.bytes)
    return fail(Code::InvalidArgument, fmt::format("{}: tensor '{}' has {} bytes, and its destination {}",
                                                   path_, entry.name, entry.bytes, destination.size()));
  PERI_TRY(still_whole());
  std::ranges::copy(bytes(entry), destination.begin());
  return {};
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
  PERI_TRY(still_whole());
  // The part is one run of bytes for each index of the dimensions before `dim`.
  size_t run = total;
  for (int i = 0; i < dim; ++i) run /= static_cast<size_t>(shape[i]);
  const std::byte* source = bytes(entry).data() + static_cast<size_t>(index) * run;
  for (size_t at = 0; at < total; at += run)
    memcpy(destination.data() + at, source + at * static_cast<size_t>(count), run);
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
