#include <stdexcept>

#include "loops.h"

#if defined(GROKRFM_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace grokrfm {

// One object of loops.cpp each.
extern const LoopTables loops_default;
#if defined(GROKRFM_X86_64_LEVELS)
extern const LoopTables loops_x86_64_v3, loops_x86_64_v4;
#endif
#if defined(GROKRFM_AMX)
extern const LoopTables loops_amx_bf16;
#endif

const LoopTables* loops_in_use = &loops_default;

namespace {

struct InstructionSet {
    const char* name;
    const LoopTables* tables;
    bool supported;
    bool (*prepare)() = nullptr;  // before it is used; false if it cannot be
};

#if defined(GROKRFM_AMX)
bool has_tiles() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned amx_bf16 = 1U << 22, amx_tile = 1U << 24, avx512_bf16 = 1U << 5;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & amx_bf16) || !(d & amx_tile))
        return false;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx512_bf16);
}

// Linux lends tiles to a process that asks, for good.
bool borrow_tiles() {
    constexpr long request_permission = 0x1023, tile_data = 18;  // of arch_prctl
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
#endif

// Lowest first. Every processor with these features has the rest of its level.
std::vector<InstructionSet> built() {
    std::vector<InstructionSet> sets{{"default", &loops_default, true}};
#if defined(GROKRFM_X86_64_LEVELS)
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    sets.push_back({"x86-64-v3", &loops_x86_64_v3, v3});
    sets.push_back({"x86-64-v4", &loops_x86_64_v4, v4});
#if defined(GROKRFM_AMX)
    sets.push_back({"amx-bf16", &loops_amx_bf16, v4 && has_tiles(), borrow_tiles});
#endif
#endif
    return sets;
}

}  // namespace

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const auto& set : built()) names.emplace_back(set.name);
    return names;
}

std::string instruction_set_in_use() {
    for (const auto& set : built())
        if (set.tables == loops_in_use) return set.name;
    throw std::logic_error("instruction set: none is in use");
}

void use_instruction_set(const std::string& name) {
    const LoopTables* best = nullptr;
    std::string supported;
    for (const auto& set : built()) {
        if (!set.supported) continue;
        supported += (supported.empty() ? "" : ", ") + std::string(set.name);
        const bool wanted = name.empty() || name == set.name;
        if (wanted && (set.prepare == nullptr || set.prepare())) best = set.tables;
    }
    if (best == nullptr)
        throw std::invalid_argument("GROKRFM_INSTRUCTION_SET: expected one of " + supported +
                                    ", got " + name);
    loops_in_use = best;
}

}  // namespace grokrfm
