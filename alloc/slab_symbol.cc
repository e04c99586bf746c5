// SPDX-License-Identifier: BSD-3-Clause
//
// slab_symbol.cc - names of code addresses, for reports.
//
// Door: slab_symbol().
// dladdr() knows the functions that a program exports; the others are in the symbol table of its
// file, unless it was stripped. The table is read when the first report needs it, and kept.
// Threads: a lock guards the tables. For reports only: reads files and takes memory from malloc.
// Origin: ours; what kallsyms and %pS are to the kernel.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc/slab_debug.h"

namespace slabfwd {

namespace {

struct function {
    std::uintptr_t start; // as the file has it
    std::uintptr_t size;
    std::string name;
};

// A file as it is on disk, in memory while it lives.
class mapped_file {
public:
    explicit mapped_file(const char* path) {
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st = {};
        if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
            bytes_ = static_cast<std::size_t>(st.st_size);
            void* p = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, fd, 0);
            at_ = p == MAP_FAILED ? nullptr : static_cast<const char*>(p);
        }
        if (fd >= 0)
            close(fd);
    }
    ~mapped_file() {
        if (at_)
            munmap(const_cast<char*>(at_), bytes_);
    }
    mapped_file(const mapped_file&) = delete;

    // `n` things at an offset; NULL when the file ends before.
    template <typename T>
    const T* get(std::size_t offset, std::size_t n = 1) const {
        return at_ && offset <= bytes_ && n <= (bytes_ - offset) / sizeof(T)
                   ? reinterpret_cast<const T*>(at_ + offset)
                   : nullptr;
    }

private:
    const char* at_ = nullptr;
    std::size_t bytes_ = 0;
};

void add_functions(const mapped_file& file, const ElfW(Shdr) & symtab, const ElfW(Shdr) & strtab,
                   std::vector<function>* functions) {
    const std::size_t n = symtab.sh_size / sizeof(ElfW(Sym));
    const auto* symbols = file.get<ElfW(Sym)>(symtab.sh_offset, n);
    const char* names = file.get<char>(strtab.sh_offset, strtab.sh_size);
    if (!symbols || !names)
        return;
    for (std::size_t i = 0; i < n; ++i) {
        const ElfW(Sym)& s = symbols[i];
        if (ELF64_ST_TYPE(s.st_info) == STT_FUNC && s.st_value && s.st_name < strtab.sh_size)
            functions->push_back(
                {s.st_value, s.st_size,
                 std::string(names + s.st_name,
                             strnlen(names + s.st_name, strtab.sh_size - s.st_name))});
    }
}

// The functions of an ELF file in ascending order; none when it has no symbol table.
std::vector<function> read_functions(const char* path) {
    std::vector<function> functions;
    const mapped_file file(path);
    const auto* header = file.get<ElfW(Ehdr)>(0);
    if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
        return functions;
    const auto* sections = file.get<ElfW(Shdr)>(header->e_shoff, header->e_shnum);
    for (unsigned i = 0; sections && i < header->e_shnum; ++i)
        if (sections[i].sh_type == SHT_SYMTAB && sections[i].sh_link < header->e_shnum)
            add_functions(file, sections[i], sections[sections[i].sh_link], &functions);
    std::sort(functions.begin(), functions.end(),
              [](const function& a, const function& b) { return a.start < b.start; });
    return functions;
}

// The function of a loaded file that an address lies in, by the file's own symbol table.
bool find_function(const Dl_info& info, const void* addr, function* found) {
    static std::mutex lock;
    static auto* tables = new std::map<std::string, std::vector<function>>;
    const std::lock_guard guard(lock);
    const bool main_program =
        std::strchr(info.dli_fname, '/') == nullptr || access(info.dli_fname, R_OK) != 0;
    const char* path = main_program ? "/proc/self/exe" : info.dli_fname;
    auto [it, fresh] = tables->try_emplace(path);
    if (fresh)
        it->second = read_functions(path);
    const auto offset = static_cast<std::uintptr_t>(static_cast<const char*>(addr) -
                                                    static_cast<const char*>(info.dli_fbase));
    const auto next =
        std::upper_bound(it->second.begin(), it->second.end(), offset,
                         [](std::uintptr_t value, const function& f) { return value < f.start; });
    if (next == it->second.begin() || offset - (next - 1)->start > (next - 1)->size)
        return false;
    *found = *(next - 1);
    found->start = offset - found->start; // from here on: how far into it
    return true;
}

// Without arguments, and GCC's parts of functions under the name of the whole.
std::string demangled(const std::string& name) {
    int status = 0;
    char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
    std::string result = status == 0 && text ? text : name;
    std::free(text);
    constexpr std::string_view anonymous = "(anonymous namespace)::";
    for (std::size_t at = 0; (at = result.find(anonymous)) != result.npos;)
        result.erase(at, anonymous.size());
    if (const std::size_t args = result.find('('); args != result.npos && args > 0)
        result.resize(args);
    return result;
}

} // namespace

std::string slab_symbol(const void* addr) {
    char text[200];
    Dl_info info = {};
    if (!dladdr(addr, &info) || !info.dli_fname) {
        std::snprintf(text, sizeof text, "%p", addr);
        return text;
    }
    const char* slash = std::strrchr(info.dli_fname, '/');
    const char* program = slash ? slash + 1 : info.dli_fname;
    const auto* a = static_cast<const char*>(addr);
    function f;
    if (find_function(info, addr, &f))
        std::snprintf(text, sizeof text, "%.140s+%#zx (%.40s)", demangled(f.name).c_str(),
                      std::size_t{f.start}, program);
    else if (info.dli_sname)
        std::snprintf(text, sizeof text, "%.140s+%#tx (%.40s)", demangled(info.dli_sname).c_str(),
                      a - static_cast<const char*>(info.dli_saddr), program);
    else
        std::snprintf(text, sizeof text, "%.140s+%#tx", program,
                      a - static_cast<const char*>(info.dli_fbase));
    return text;
}

} // namespace slabfwd
