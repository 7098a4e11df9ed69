// The cache on disk: what is kept, what is never used, and that all processes see one value. Needs no device.
#include <sys/wait.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <set>

#include <fmt/format.h>

#include "kernels/cuda/nvrtc/cache.hpp"

using peri::kernels::cuda::CodeCache;
namespace fs = std::filesystem;

namespace {

// A folder that does not exist yet, removed at the end.
struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("perilune-cache-{}", getpid());
  Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path); }
  std::ptrdiff_t files() const {
    return std::distance(fs::directory_iterator(path), fs::directory_iterator());
  }
};

void overwrite(const fs::path& path, size_t at, const std::string& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at));
  file << bytes;
}

}  // namespace

TEST_CASE("the cache keeps the first value of a key", "[no_device]") {
  const Folder folder;
  const peri::kernels::cuda::CodeCache cache(folder.path);
  CHECK(!cache.find("key"));
  CHECK(cache.keep("key", "first") == "first");
  CHECK(cache.keep("key", "second") == "first");
  CHECK(cache.find("key") == "first");
  CHECK(!cache.find("other"));
  CHECK(cache.keep("empty", "") == "");
  CHECK(folder.files() == 2);  // nothing is left of what was not kept
}

TEST_CASE("a file that is damaged, cut short or of another key is not used", "[no_device]") {
  const Folder folder;
  const peri::kernels::cuda::CodeCache cache(folder.path);
  REQUIRE(cache.keep("key", "value") == "value");
  const auto size = fs::file_size(cache.path("key"));
  SECTION("its last byte") {
    overwrite(cache.path("key"), size - 1, "X");
  }
  SECTION("its first bytes") {
    overwrite(cache.path("key"), 0, "foreign");
  }
  SECTION("its end is missing") {
    fs::resize_file(cache.path("key"), size - 1);
  }
  SECTION("all of it is missing") {
    fs::resize_file(cache.path("key"), 0);
  }
  SECTION("it is whole, but another's") {
    REQUIRE(cache.keep("other", "value"));
    fs::copy_file(cache.path("other"), cache.path("key"), fs::copy_options::overwrite_existing);
  }
  CHECK(!cache.find("key"));
  CHECK(cache.keep("key", "again") == "again");
  CHECK(cache.keep("key", "late") == "again");
  CHECK(cache.find("key") == "again");
}

TEST_CASE("where every place of a key is unusable nothing is kept", "[no_device]") {
  const Folder folder;
  const peri::kernels::cuda::CodeCache cache(folder.path);
  for (int place = 0; place < peri::kernels::cuda::CodeCache::kPlaces; ++place) {
    REQUIRE(cache.keep("key", "value") == "value");
    fs::resize_file(cache.path("key", place), 3);
  }
  CHECK(!cache.keep("key", "value"));
  CHECK(!cache.find("key"));
}

TEST_CASE("a cache that cannot be written", "[no_device]") {
  const Folder folder;
  std::ofstream(folder.path) << "a file where the folder should be";
  const peri::kernels::cuda::CodeCache cache(folder.path);
  CHECK(!cache.is_writable());
  CHECK(!cache.keep("key", "value"));
  CHECK(!cache.find("key"));
}

TEST_CASE("processes that write at once agree, also where the first file is damaged", "[no_device]") {
  constexpr int kProcesses = 6, kKeys = 40;
  const Folder folder;
  const peri::kernels::cuda::CodeCache cache(folder.path);
  for (int key = 0; key < kKeys; key += 2) {
    REQUIRE(cache.keep(fmt::format("key {}", key), "value"));
    fs::resize_file(cache.path(fmt::format("key {}", key)), 8);
  }
  int begin[2], seen[2];
  REQUIRE((pipe(begin) == 0 && pipe(seen) == 0));
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child > 0) continue;
    close(begin[1]);
    char wait;
    std::string winners(1, char('0' + process));
    if (read(begin[0], &wait, 1) == 0)  // the parent has closed it
      for (int key = 0; key < kKeys; ++key)
        winners += cache.keep(fmt::format("key {}", key), std::string(1, char('0' + process))).value_or("?");
    _exit(write(seen[1], winners.data(), winners.size()) == ssize_t(winners.size()) ? 0 : 1);
  }
  close(begin[0]);
  close(begin[1]);
  close(seen[1]);
  std::set<std::string> agreed, processes;
  std::string line(kKeys + 1, ' ');
  while (read(seen[0], line.data(), line.size()) == ssize_t(line.size())) {  // written in one piece
    processes.insert(line.substr(0, 1));
    agreed.insert(line.substr(1));
  }
  close(seen[0]);
  while (wait(nullptr) > 0) {
  }
  CHECK(processes.size() == kProcesses);
  REQUIRE(agreed.size() == 1);
  CHECK(agreed.begin()->size() == kKeys);
  CHECK(agreed.begin()->find('?') == std::string::npos);
  for (int key = 0; key < kKeys; ++key)
    CHECK(cache.find(fmt::format("key {}", key)) == agreed.begin()->substr(static_cast<size_t>(key), 1));
}
