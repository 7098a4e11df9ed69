// A process's place in its job, from each launcher's variables. The values are what the launchers really set
// (torchrun 2.x, Open MPI 4.1, Slurm 22.05).
#include "bindings/launcher/rank_environment.hpp"

#include <catch2/catch.hpp>
#include <map>

using namespace peri;

namespace {

using Variables = std::map<std::string, std::string>;

Result<std::optional<launcher::RankEnvironment>> place(const Variables& variables) {
  return launcher::rank_environment(read_environment([&](const char* name) {
    auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  }));
}

launcher::RankEnvironment placed(const Variables& variables) {
  auto result = place(variables);
  REQUIRE(result);
  REQUIRE(*result);
  return **result;
}

std::string refused(const Variables& variables) {
  auto result = place(variables);
  REQUIRE(!result);
  CHECK(result.error().code == Code::InvalidArgument);
  return result.error().message;
}

Variables with(Variables variables, const Variables& more) {
  for (const auto& [name, value] : more) variables[name] = value;
  return variables;
}

const Variables kPeri = {{"PERI_JOB", "0123456789abcdef"},
                         {"PERI_RANK", "2"},
                         {"PERI_WORLD_SIZE", "4"},
                         {"RANK", "2"},
                         {"WORLD_SIZE", "4"},
                         {"LOCAL_RANK", "2"}};
const Variables kTorchrun = {{"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"TORCHELASTIC_RUN_ID", "none"},
                             {"MASTER_ADDR", "localhost"},
                             {"MASTER_PORT", "29500"}};
const Variables kMpirun = {{"OMPI_COMM_WORLD_RANK", "1"},
                           {"OMPI_COMM_WORLD_SIZE", "2"},
                           {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                           {"OMPI_MCA_ess_base_jobid", "2853961729"}};
const Variables kSrun = {{"SLURM_PROCID", "3"},
                         {"SLURM_NTASKS", "4"},
                         {"SLURM_LOCALID", "1"},
                         {"SLURM_JOB_ID", "77"},
                         {"SLURM_STEP_ID", "0"}};

}  // namespace

TEST_CASE("each launcher's variables are read") {
  auto peri = placed(kPeri);
  CHECK((peri.rank == 2 && peri.world_size == 4 && peri.local_rank == 2));
  CHECK((peri.job == "0123456789abcdef" && peri.source == "peri run"));
  auto torchrun = placed(kTorchrun);
  CHECK((torchrun.rank == 5 && torchrun.world_size == 8 && torchrun.local_rank == 1 &&
         torchrun.source == "torchrun"));
  auto mpirun = placed(kMpirun);
  CHECK((mpirun.rank == 1 && mpirun.world_size == 2 && mpirun.local_rank == 1 && mpirun.source == "mpirun"));
  auto srun = placed(kSrun);
  CHECK((srun.rank == 3 && srun.world_size == 4 && srun.local_rank == 1 && srun.source == "srun"));
}

TEST_CASE("a job's name is the same for its ranks and differs between jobs") {
  CHECK(placed(kTorchrun).job == placed(with(kTorchrun, {{"RANK", "0"}})).job);
  CHECK(placed(kTorchrun).job != placed(with(kTorchrun, {{"MASTER_PORT", "29501"}})).job);
  CHECK(placed(kSrun).job != placed(with(kSrun, {{"SLURM_STEP_ID", "1"}})).job);
  CHECK(placed(with(kTorchrun, {{"TORCHELASTIC_RUN_ID", std::string(500, 'x')}})).job.size() <= 80);
}

TEST_CASE("a process that nobody launched has no place") {
  auto none = place({});
  REQUIRE(none);
  CHECK(!*none);
  CHECK(!*place({{"RANK", "1"}, {"WORLD_SIZE", "2"}}));                                    // anyone's
  CHECK(!*place({{"MASTER_ADDR", "localhost"}, {"MASTER_PORT", "29500"}}));                // set by hand
  CHECK(!*place({{"SLURM_JOB_ID", "77"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}));  // a batch script
}

TEST_CASE("launchers that disagree are refused, those that agree are not") {
  CHECK(refused(with(kPeri, kMpirun)) == "peri run says this is rank 2 of 4, and mpirun says rank 1 of 2");
  auto both = placed(with(with(kMpirun, kSrun), {{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}}));
  CHECK(both.source == "mpirun");
}

TEST_CASE("values that are no rank are refused by name") {
  CHECK(refused(with(kMpirun, {{"OMPI_COMM_WORLD_RANK", "-1"}})) ==
        "the environment variable OMPI_COMM_WORLD_RANK must be a number, at least 0, not \"-1\"");
  CHECK(refused(with(kMpirun, {{"OMPI_COMM_WORLD_SIZE", "2x"}})) ==
        "the environment variable OMPI_COMM_WORLD_SIZE must be a number, at least 1, not \"2x\"");
  CHECK(refused(with(kSrun, {{"SLURM_PROCID", "4"}})) == "srun says rank 4 of 4: ranks count from 0");
  CHECK(refused({{"OMPI_MCA_ess_base_jobid", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}}) ==
        "mpirun started this process, but OMPI_COMM_WORLD_SIZE is not set");
}
