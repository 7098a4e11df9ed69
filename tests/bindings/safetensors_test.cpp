// The safetensors reader on good, lying and broken files, and the writer. The files are written out byte by
// byte here; each bad one is a shape of a bug that was published for some reader (or the check of a rule in
// the format's README).
#include "bindings/files/safetensors.hpp"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

using namespace peri;

namespace {

std::string size_field(uint64_t size) {
  std::string text(8, '\0');
  memcpy(text.data(), &size, 8);
  return text;
}

// A file of this header and so many bytes of data: 0, 1, 2, ...
std::string file_of(const std::string& header, size_t data_bytes) {
  std::string data(data_bytes, '\0');
  std::iota(data.begin(), data.end(), '\0');
  return size_field(header.size()) + header + data;
}

std::span<const std::byte> as_bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

struct BadFile {
  std::string bytes;
  Code code;
  std::string message;
};

// One tensor x with these fields and so many bytes of data.
std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets,
                   size_t data) {
  return file_of(
      R"({"x":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}", data);
}

std::string two(const std::string& first, const std::string& second, size_t data) {
  return file_of(R"({"a":{"dtype":"U8","shape":)" + first + R"(},"b":{"dtype":"U8","shape":)" + second + "}}",
                 data);
}

const std::vector<BadFile>& bad_files() {
  const Code malformed = Code::MalformedFile, unsupported = Code::Unsupported;
  static const std::vector<BadFile> files = {
      {"", malformed, "f: 0 bytes are too few for a safetensors file"},
      {"1234567", malformed, "f: 7 bytes are too few for a safetensors file"},
      {size_field(9) + "{}      ", malformed, "f: its header is said to have 9 bytes, and only 8 follow"},
      {size_field(100'000'001) + "{}", malformed,
       "f: its header is said to have 100000001 bytes; at most 100000000 are allowed"},
      {size_field(~uint64_t{0}) + "{}", malformed,
       "f: its header is said to have 18446744073709551615 bytes; at most 100000000 are allowed"},
      {file_of("", 0), malformed, "f: the header is not JSON (at byte 1 of it)"},
      {file_of("{", 0), malformed, "f: the header is not JSON (at byte 2 of it)"},
      {file_of("{}x", 0), malformed, "f: the header is not JSON (at byte 3 of it)"},
      {file_of("{\"\xff\":1}", 0), malformed, "f: the header is not JSON (at byte 3 of it)"},
      {file_of("[]", 0), malformed, "f: the header must be an object, not an array"},
      {file_of("null", 0), malformed, "f: the header must be an object, not null"},
      {file_of(R"({"x":1})", 0), malformed, "f: 'x' must be an object, not a number"},
      {file_of(R"({"x":[[[[[[]]]]]]})", 0), malformed, "f: 'x' must be an object, not an array"},
      {file_of(R"({"__metadata__":{"a":1}})", 0), malformed,
       "f: __metadata__: 'a' must be a string, not a number"},
      {file_of(R"({"__metadata__":{"a":{}}})", 0), malformed,
       "f: __metadata__: 'a' must be a string, not an object"},
      {file_of(R"({"__metadata__":{"a":"1","a":"2"}})", 0), malformed, "f: __metadata__: 'a' appears twice"},
      {file_of(R"({"x":{}})", 0), malformed, "f: tensor 'x': dtype is missing"},
      {file_of(R"({"x":{"dtype":"U8","data_offsets":[0,0]}})", 0), malformed,
       "f: tensor 'x': shape is missing"},
      {file_of(R"({"x":{"dtype":"U8","shape":[0]}})", 0), malformed,
       "f: tensor 'x': data_offsets is missing"},
      {file_of(R"({"x":{"dtype":"U8","dtype":"U8"}})", 0), malformed, "f: tensor 'x': dtype appears twice"},
      {file_of(R"({"x":{"type":"U8"}})", 0), malformed, "f: tensor 'x': unknown field 'type'"},
      {file_of(R"({"x":{"dtype":{"a":1}}})", 0), malformed, "f: tensor 'x': dtype cannot be an object"},
      {file_of("{\"a\\u001b[2J\":0}", 0), malformed, "f: 'a\\x1b[2J' must be an object, not a number"},
      {two("[1],\"data_offsets\":[0,1]", "[1],\"data_offsets\":[0,1]", 1), malformed,
       "f: tensors 'a' and 'b' overlap"},
      {two("[3],\"data_offsets\":[0,3]", "[2],\"data_offsets\":[2,4]", 4), malformed,
       "f: tensors 'a' and 'b' overlap"},
      {two("[1],\"data_offsets\":[0,1]", "[1],\"data_offsets\":[2,3]", 3), malformed,
       "f: bytes 1 to 2 of the data belong to no tensor"},
      {tensor("U8", "[2]", "[1,3]", 3), malformed, "f: bytes 0 to 1 of the data belong to no tensor"},
      {tensor("U8", "[2]", "[0,2]", 3), malformed, "f: bytes 2 to 3 of the data belong to no tensor"},
      {file_of("{}", 5), malformed, "f: bytes 0 to 5 of the data belong to no tensor"},
      {file_of(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{}})", 1), malformed,
       "f: 'x' appears twice"},
      {tensor("F64", "[1]", "[0,8]", 8), unsupported, "f: tensor 'x': dtype 'F64' is not supported"},
      {tensor("f32", "[1]", "[0,4]", 4), unsupported, "f: tensor 'x': dtype 'f32' is not supported"},
      {tensor("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]", 1), unsupported,
       "f: tensor 'x': more than 8 dimensions are not supported"},
      {tensor("F32", "[2]", "[0,99]", 64), malformed,
       "f: tensor 'x': data_offsets [0,99] end past the file (64 bytes of data)"},
      {tensor("F32", "[2]", "[0,18446744073709551615]", 8), malformed,
       "f: tensor 'x': data_offsets [0,18446744073709551615] end past the file (8 bytes of data)"},
      {tensor("F32", "[4]", "[0,8]", 8), malformed,
       "f: tensor 'x': data_offsets [0,8] hold 8 bytes, and f32[4] has 16"},
      {tensor("U8", "[8]", "[8,0]", 8), malformed, "f: tensor 'x': data_offsets [8,0] end before they begin"},
      {tensor("U8", "[8]", "[0]", 8), malformed, "f: tensor 'x': data_offsets must be two numbers"},
      {tensor("U8", "[8]", "[0,8,8]", 8), malformed, "f: tensor 'x': data_offsets must be two numbers"},
      {tensor("U8", "[8]", "[-8,8]", 8), malformed,
       "f: tensor 'x': one of data_offsets cannot be a negative number"},
      {tensor("U8", "[8]", "[0,8.0]", 8), malformed,
       "f: tensor 'x': one of data_offsets cannot be a number that is no integer of 64 bits"},
      {tensor("U8", "[-8]", "[0,8]", 8), malformed,
       "f: tensor 'x': a dimension of shape cannot be a negative number"},
      {tensor("U8", "[[8]]", "[0,8]", 8), malformed,
       "f: tensor 'x': a dimension of shape cannot be an array"},
      {tensor("U8", "8", "[0,8]", 8), malformed, "f: tensor 'x': shape cannot be a number"},
      {tensor("U8", "[9223372036854775808]", "[0,8]", 8), malformed,
       "f: tensor 'x': shape has the dimension 9223372036854775808, which is too large"},
      // 2^32 * 2^32 * 4 bytes wraps to 0, and 2^62 + 4 elements of 4 bytes to 16.
      {tensor("F32", "[4294967296,4294967296]", "[0,0]", 0), malformed,
       "f: tensor 'x': shape [4294967296,4294967296] has more elements than any file"},
      {tensor("F32", "[4611686018427387908]", "[0,16]", 16), malformed,
       "f: tensor 'x': shape [4611686018427387908] has more elements than any file"},
  };
  return files;
}

// Zero-sized tensors may share an offset with each other and with others; a scalar has an empty shape;
// unaligned.
const std::string kGood = file_of(
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]},)"
    R"("none":{"dtype":"F32","shape":[0,7],"data_offsets":[3,3]},"nil":{"shape":[2,0],"dtype":"I64","data_offsets":[3,3]},)"
    R"("w":{"dtype":"F16","shape":[2,3,2],"data_offsets":[3,27]},"s":{"dtype":"F32","shape":[],"data_offsets":[27,31]}}  )",
    31);

struct Folder {
  std::string path = "/tmp/peri_safetensors_XXXXXX";
  Folder() { REQUIRE(mkdtemp(path.data())); }
  ~Folder() {
    for (const std::string& name : names()) unlink((path + "/" + name).c_str());
    rmdir(path.c_str());
  }
  std::vector<std::string> names() const {
    std::vector<std::string> list;
    DIR* folder = opendir(path.c_str());
    while (dirent* entry = readdir(folder)) {
      if (entry->d_name[0] != '.') list.push_back(entry->d_name);
    }
    closedir(folder);
    return list;
  }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path + "/" + name, std::ios::binary) << bytes;
    return path + "/" + name;
  }
};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<int> numbers(std::span<const std::byte> bytes) {
  std::vector<int> list;
  for (std::byte byte : bytes) list.push_back(std::to_integer<int>(byte));
  return list;
}

}  // namespace

TEST_CASE("bad safetensors files are refused with one message") {
  for (const BadFile& bad : bad_files()) {
    auto header = files::parse_safetensors(as_bytes(bad.bytes), "f");
    INFO(bad.message);
    REQUIRE(!header);
    CHECK(header.error().message == bad.message);
    CHECK(header.error().code == bad.code);
  }
}

TEST_CASE("every truncation of a good file is refused") {
  REQUIRE(files::parse_safetensors(as_bytes(kGood), "f"));
  for (size_t size = 0; size < kGood.size(); ++size) {
    std::string cut = kGood.substr(0, size);  // its own allocation: a sanitizer sees reads behind it
    REQUIRE(!files::parse_safetensors(as_bytes(cut), "f"));
  }
  CHECK(!files::parse_safetensors(as_bytes(kGood + "x"), "f"));
}

static std::vector<std::byte> contents(const files::SafetensorsFile& file,
                                       const files::SafetensorsEntry& entry) {
  std::vector<std::byte> bytes(entry.bytes);
  REQUIRE(file.copy(entry, bytes));
  return bytes;
}

TEST_CASE("a good file is read") {
  Folder folder;
  auto file = files::SafetensorsFile::open(folder.write("good.safetensors", kGood));
  REQUIRE(file);
  CHECK(file->metadata() == std::map<std::string, std::string>{{"format", "pt"}});
  CHECK(file->entries().size() == 5);
  const files::SafetensorsEntry* w = *file->find("w");
  CHECK((w->dtype == DType::f16 && w->shape == Shape{2, 3, 2} && w->bytes == 24));
  CHECK(numbers(contents(*file, *w)).front() == 3);
  CHECK(numbers(contents(*file, *w)).back() == 26);
  CHECK(numbers(contents(*file, **file->find("s"))) == std::vector<int>{27, 28, 29, 30});
  CHECK(contents(*file, **file->find("none")).empty());
  auto missing = file->find("non");
  REQUIRE(!missing);
  CHECK(missing.error().code == Code::NotFound);
  CHECK(missing.error().hint == "did you mean 'none'?");
}

TEST_CASE("parts of a tensor are copied") {
  Folder folder;
  auto file = files::SafetensorsFile::open(folder.write("good.safetensors", kGood));
  REQUIRE(file);
  const files::SafetensorsEntry& w = **file->find("w");  // [2,3,2] of 2 bytes: bytes 3 to 26
  auto part = [&](int dim, int64_t index, int64_t count, size_t bytes) {
    std::vector<std::byte> destination(bytes);
    REQUIRE(file->copy_shard(w, dim, index, count, destination));
    return numbers(destination);
  };
  CHECK(part(0, 1, 2, 12) == std::vector<int>{15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26});
  CHECK(part(1, 0, 3, 8) == std::vector<int>{3, 4, 5, 6, 15, 16, 17, 18});
  CHECK(part(1, 2, 3, 8) == std::vector<int>{11, 12, 13, 14, 23, 24, 25, 26});
  CHECK(part(2, 1, 2, 12) == std::vector<int>{5, 6, 9, 10, 13, 14, 17, 18, 21, 22, 25, 26});
  CHECK(part(2, 0, 1, 24) == numbers(contents(*file, w)));
  CHECK(*shard_shape(w, 1, 3) == Shape{2, 1, 2});

  std::vector<std::byte> destination(24);
  auto refused = [&](int dim, int64_t index, int64_t count) {
    auto status = file->copy_shard(w, dim, index, count, destination);
    REQUIRE(!status);
    return status.error().code;
  };
  CHECK(refused(1, 0, 2) == Code::ShapeMismatch);
  CHECK(refused(3, 0, 1) == Code::InvalidArgument);
  CHECK(refused(-1, 0, 1) == Code::InvalidArgument);
  CHECK(refused(0, 2, 2) == Code::InvalidArgument);
  CHECK(refused(0, 0, 0) == Code::InvalidArgument);
  CHECK(refused(0, 0, 2) == Code::InvalidArgument);  // the destination is too large
  CHECK(file->copy_shard(**file->find("none"), 1, 3, 7, {}));
}

TEST_CASE("parts of many short runs and of long runs are copied") {
  const int sizes[][3] = {{2000, 3, 700}, {3, 2, 20000}, {1, 7, 3}, {300000, 4, 1}};
  for (const auto& [slabs, count, run] : sizes) {
    Folder folder;
    const std::string shape = std::to_string(slabs) + "," + std::to_string(count) + "," + std::to_string(run);
    const size_t bytes = static_cast<size_t>(slabs) * count * run;
    auto file = files::SafetensorsFile::open(
        folder.write("f", file_of(R"({"x":{"dtype":"U8","shape":[)" + shape + R"(],"data_offsets":[0,)" +
                                      std::to_string(bytes) + "]}}",
                                  bytes)));
    REQUIRE(file);
    const files::SafetensorsEntry& x = **file->find("x");
    const std::vector<std::byte> whole = contents(*file, x);
    for (int index = 0; index < count; ++index) {
      std::vector<std::byte> part(bytes / count), wanted;
      REQUIRE(file->copy_shard(x, 1, index, count, part));
      for (int slab = 0; slab < slabs; ++slab) {
        const auto begin = whole.begin() + (static_cast<int64_t>(slab) * count + index) * run;
        wanted.insert(wanted.end(), begin, begin + run);
      }
      CHECK(part == wanted);
    }
  }
}

TEST_CASE("what is no file is said") {
  Folder folder;
  std::string path = folder.write("weights.safetensors", kGood);
  auto missing = files::SafetensorsFile::open(folder.path + "/weight.safetensors");
  REQUIRE(!missing);
  CHECK(missing.error().code == Code::NotFound);
  CHECK(missing.error().hint == "did you mean " + path + "?");
  auto directory = files::SafetensorsFile::open(folder.path);
  REQUIRE(!directory);
  CHECK(directory.error().message == folder.path + ": it is not a file");
  REQUIRE(mkfifo((folder.path + "/pipe").c_str(), 0600) == 0);
  CHECK(files::SafetensorsFile::open(folder.path + "/pipe").error().code == Code::IoError);
  CHECK(files::SafetensorsFile::open(folder.write("empty", "")).error().code == Code::MalformedFile);
}

TEST_CASE("a file that is cut short after it was opened is an error, not a fault") {
  Folder folder;
  std::string path = folder.write("f", kGood);
  auto file = files::SafetensorsFile::open(path);
  REQUIRE(file);
  REQUIRE(truncate(path.c_str(), 10) == 0);
  std::vector<std::byte> destination(24);
  CHECK(file->copy(**file->find("w"), destination).error().code == Code::IoError);
  CHECK(file->copy_shard(**file->find("w"), 0, 0, 1, destination).error().code == Code::IoError);
}

TEST_CASE("what is written is read") {
  Folder folder;
  std::string path = folder.path + "/out.safetensors";
  std::string data = "abcdefghijklmnop";
  std::vector<files::SafetensorsTensor> tensors = {{"byte", DType::u8, Shape{3}, as_bytes(data).first(3)},
                                                   {"z", DType::f32, Shape{2}, as_bytes(data).subspan(3, 8)},
                                                   {"a", DType::f32, Shape{}, as_bytes(data).subspan(11, 4)},
                                                   {"none", DType::i64, Shape{0}, {}}};
  REQUIRE(write_safetensors(path, tensors, {{"note", "say \"hi\"\n"}}));
  // By hand: 8 bytes of size, the header in the reference writer's order, spaces up to a multiple of 8, the
  // data.
  std::string header =
      R"({"__metadata__":{"note":"say \"hi\"\n"},"none":{"dtype":"I64","shape":[0],"data_offsets":[0,0]},)"
      R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"z":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},)"
      R"("byte":{"dtype":"U8","shape":[3],"data_offsets":[12,15]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  CHECK(read_file(path) == size_field(header.size()) + header + "lmnodefghijkabc");
  auto file = files::SafetensorsFile::open(path);
  REQUIRE(file);
  CHECK(file->metadata().at("note") == "say \"hi\"\n");
  CHECK((*file->find("z"))->shape == Shape{2});
  // An open file survives a new one in its place.
  REQUIRE(files::write_safetensors(path, {}));
  CHECK(numbers(contents(*file, **file->find("byte"))) == std::vector<int>{'a', 'b', 'c'});
  CHECK(read_file(path) == size_field(8) + "{}      ");
  CHECK(folder.names() == std::vector<std::string>{"out.safetensors"});
}

TEST_CASE("what cannot be written leaves nothing, and the old file") {
  Folder folder;
  std::string path = folder.write("out", "old");
  std::string data(1 << 20, 'x');
  files::SafetensorsTensor large{"x", DType::u8, Shape{1 << 20}, as_bytes(data)};
  auto refused = [&](std::vector<files::SafetensorsTensor> tensors) {
    auto status = write_safetensors(path, tensors);
    REQUIRE(!status);
    return status.error().code;
  };
  CHECK(refused({large, large}) == Code::InvalidArgument);
  CHECK(refused({{"__metadata__", DType::u8, Shape{0}, {}}}) == Code::InvalidArgument);
  CHECK(refused({{"\xff", DType::u8, Shape{0}, {}}}) == Code::InvalidArgument);
  CHECK(refused({{"x", DType::f32, Shape{3}, as_bytes(data)}}) == Code::InvalidArgument);
  CHECK(files::write_safetensors(folder.path + "/no/such", {large}).error().code == Code::IoError);
  CHECK(files::write_safetensors(folder.path, {large}).error().code ==
        Code::IoError);  // a folder stands there

  // No more than 64 KiB may be written, as on a disk that is full.
  pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit{1 << 16, 1 << 16};
    setrlimit(RLIMIT_FSIZE, &limit);
    auto status = files::write_safetensors(path, {large});
    _exit(!status && status.error().code == Code::IoError ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(read_file(path) == "old");
  CHECK(folder.names() == std::vector<std::string>{"out"});
}

// Seeds for safetensors_fuzz, into the build folder's safetensors_corpus.
TEST_CASE("write the fuzzer's corpus", "[.][corpus]") {
  const std::string folder = PERI_BINARY_DIR "/safetensors_corpus";
  std::filesystem::create_directories(folder);
  auto write = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(folder + "/" + name, std::ios::binary) << bytes;
  };
  write("good", kGood);
  for (size_t i = 0; i < bad_files().size(); ++i) write("bad" + std::to_string(i), bad_files()[i].bytes);
}
