// The environment: defaults, values, malformed values, who forbids multicast.
#include <catch2/catch.hpp>

#include <unistd.h>

#include <map>

#include "core/env.hpp"

using namespace peri;

namespace {

Environment read(const std::map<std::string, std::string>& variables) {
  return read_environment([&](const char* name) {
    auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

}  // namespace

TEST_CASE("an empty environment gives the defaults") {
  const Environment env = read({{"PERI_TIMEOUT", ""}});
  CHECK(env.timeout == 60);
  CHECK(env.threads == 0);
  CHECK(!env.rank);
  CHECK(!env.allows_multicast());
  CHECK(env.p2p);
  CHECK(!env.check);
  CHECK(!env.nccl);
  CHECK(env.malformed.empty());
}

TEST_CASE("values are read") {
  const Environment env = read({{"PERI_JOB", "ab12"},
                                {"PERI_RANK", "2"},
                                {"PERI_WORLD_SIZE", "4"},
                                {"PERI_TIMEOUT", "2.5"},
                                {"PERI_THREADS", "3"},
                                {"PERI_P2P", "0"},
                                {"PERI_CHECK", "1"},
                                {"PERI_TIMELINE", "5"},
                                {"PERI_NCCL", "/opt/libnccl.so.2"},
                                {"SLURM_PROCID", "7"},
                                {"OMPI_COMM_WORLD_SIZE", "8"},
                                {"XDG_CACHE_HOME", "/tmp/a"},
                                {"HOME", "/root"}});
  CHECK(env.job == "ab12");
  CHECK(env.rank == 2);
  CHECK(env.world_size == 4);
  CHECK(env.timeout == 2.5);
  CHECK(env.threads == 3);
  CHECK(!env.p2p);
  CHECK(env.check);
  CHECK(env.timeline == 5);
  CHECK(env.nccl == "/opt/libnccl.so.2");
  CHECK(env.slurm_rank == "7");
  CHECK(env.ompi_world_size == "8");
  CHECK(env.xdg_cache_home == "/tmp/a");
  CHECK(env.home == "/root");
  CHECK(env.malformed.empty());
}

TEST_CASE("a malformed value is an error, and the default stays") {
  for (const char* timeout : {"0", "-1", "1s", "nan", "inf", "1e999"}) {
    const Environment env = read({{"PERI_TIMEOUT", timeout}});
    CHECK(env.timeout == 60);
    REQUIRE(env.malformed.size() == 1);
    CHECK(env.malformed[0].message ==
          std::string("the environment variable PERI_TIMEOUT must be seconds, at least 0.001, not \"") +
              timeout + "\"");
  }
  CHECK(
      read({{"PERI_MULTICAST", "yes"}, {"PERI_THREADS", "-2"}, {"PERI_WORLD_SIZE", "0"}}).malformed.size() ==
      3);
  CHECK(read({{"PERI_RANK", "4"}, {"PERI_WORLD_SIZE", "4"}}).malformed.size() == 1);
}

TEST_CASE("NCCL is kept off multicast") {
  keep_nccl_off_multicast();
  bool off = false;
  for (char** variable = environ; *variable; ++variable)
    off |= std::string(*variable) == "NCCL_NVLS_ENABLE=0";
  CHECK(off);
}

// All combinations; nullptr: not set. Every variable but the first may only add a refusal.
TEST_CASE("multicast is used only if it is asked for and nobody forbids it") {
  struct Value {
    const char* text;
    bool agrees;
  };
  const std::vector<Value> asked = {{nullptr, false}, {"", false}, {"0", false}, {"1", true}, {"yes", false}};
  const std::vector<Value> nvls = {{nullptr, true}, {"", true},       {"1", true},
                                   {"2", true},     {"0", false},     {"00", false},
                                   {"0 ", false},   {"false", false}, {"-1", false}};
  const std::vector<Value> disables = {{nullptr, true}, {"", true},       {"0", true},    {"1", false},
                                       {"01", false},   {"false", false}, {"yes", false}, {"TRUE", false}};
  int allowed = 0;
  for (const Value& peri : asked)
    for (const Value& nccl : nvls)
      for (const Value& torch : disables)
        for (const Value& nvshmem : disables) {
          std::map<std::string, std::string> variables;
          auto add = [&](const char* name, const Value& value) {
            if (value.text) variables[name] = value.text;
          };
          add("PERI_MULTICAST", peri);
          add("NCCL_NVLS_ENABLE", nccl);
          add("TORCH_SYMM_MEM_DISABLE_MULTICAST", torch);
          add("NVSHMEM_DISABLE_NVLS", nvshmem);
          const Environment env = read(variables);
          const bool may = peri.agrees && nccl.agrees && torch.agrees && nvshmem.agrees;
          INFO("PERI " << (peri.text ? peri.text : "-") << " NCCL " << (nccl.text ? nccl.text : "-")
                       << " TORCH " << (torch.text ? torch.text : "-") << " NVSHMEM "
                       << (nvshmem.text ? nvshmem.text : "-"));
          CHECK(env.allows_multicast() == may);
          CHECK(env.multicast_refusal().empty() == may);
          allowed += may;
        }
  CHECK(allowed == 4 * 3 * 3);
  CHECK(read({}).multicast_refusal() == "PERI_MULTICAST is not 1");
  CHECK(read({{"PERI_MULTICAST", "1"}, {"NCCL_NVLS_ENABLE", "0"}}).multicast_refusal() ==
        "NCCL_NVLS_ENABLE is 0");
}

// The tests themselves run with it off, whatever the machine.
TEST_CASE("multicast is off in this process") {
  CHECK(!environment().allows_multicast());
}
