// Reads and writes .safetensors files: an 8-byte little-endian header size, a JSON header (name -> dtype,
// shape, data_offsets), then the tensors' bytes. Source of the format: github.com/huggingface/safetensors,
// README "Format".
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/types/dtype.hpp"
#include "core/types/shape.hpp"
#include "kernels/os/descriptor.hpp"

namespace peri::files {

// One tensor of a file. `offset` (bytes, from the start of the data) and `bytes` have been checked against
// the file.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  size_t offset = 0;
  size_t bytes = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // by offset
  std::map<std::string, std::string> metadata;
  size_t data_begin = 0;  // bytes from the start of the file
};

// Reads bytes from an offset of a file, all of them or none.
using ReadAt = std::function<Status(size_t offset, std::span<std::byte> destination)>;

// Reads the header of a file of `file_bytes` bytes and checks it against the format and against the file's
// size. `path`: its name for messages. MalformedFile (one message: "path: tensor 'x': what is wrong"),
// Unsupported for a dtype or number of dimensions that Perilune does not have, and what `read` says.
Result<SafetensorsHeader> read_safetensors_header(size_t file_bytes, const ReadAt& read,
                                                  const std::string& path);
// The same of a file in memory.
Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> file, const std::string& path);

// An open file. Everything the header says was checked at open. Nothing is mapped into memory, as a file that
// somebody cuts short would then end the process with SIGBUS.
class SafetensorsFile {
 public:
  // NotFound (with the nearest name), IoError, and what parse_safetensors says.
  static Result<SafetensorsFile> open(const std::string& path);

  const std::vector<SafetensorsEntry>& entries() const { return header_.entries; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  // The entry of that name; NotFound with the nearest. Valid as long as the file is.
  Result<const SafetensorsEntry*> find(const std::string& name) const;

  // Copies the whole tensor; `destination` has entry.bytes bytes. IoError if it cannot be read, or the file
  // has become shorter.
  Status copy(const SafetensorsEntry& entry, std::span<std::byte> destination) const;

  // Copies part `index` (from 0) of `count` equal parts along dimension `dim` (from 0), and reads little
  // else. `destination` has the bytes of shard_shape(entry, dim, count). Errors: those of shard_shape,
  // InvalidArgument, IoError.
  Status copy_shard(const SafetensorsEntry& entry, int dim, int64_t index, int64_t count,
                    std::span<std::byte> destination) const;

 private:
  SafetensorsFile() = default;
  // From the start of the file.
  Status read(size_t offset, std::span<std::byte> destination) const;

  std::string path_;
  kernels::os::Fd descriptor_;
  size_t bytes_ = 0;  // when it was opened
  SafetensorsHeader header_;
};

// The shape of one of `count` equal parts along `dim` (from 0). InvalidArgument if there is no such dimension
// or `count` is below 1, ShapeMismatch if the dimension cannot be divided evenly.
Result<Shape> shard_shape(const SafetensorsEntry& entry, int dim, int64_t count);

// A tensor to be written: `bytes` are its elements, contiguous and row-major.
struct SafetensorsTensor {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;
};

// Writes a file that is there whole or not at all: into a new file beside it, which then takes its place. On
// an error (InvalidArgument: a name twice, reserved or not UTF-8, bytes that do not fit shape and dtype;
// IoError: what the system says, "No space left on device") nothing is left and a file that was there before
// is untouched. Tensors are ordered by element size, then name, as the format's own writer does, so that each
// is aligned and equal contents give equal files.
Status write_safetensors(const std::string& path, std::vector<SafetensorsTensor> tensors,
                         const std::map<std::string, std::string>& metadata = {});

}  // namespace peri::files
