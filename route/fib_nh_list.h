// SPDX-License-Identifier: BSD-3-Clause
//
// The next hops of a route that a command names. One lies in the list itself, since most routes
// have no more: tables of hundreds of thousands are loaded without an allocation for each.
// Door: fib_nh_list, used as a std::vector is. Threads: as a plain value.
#pragma once

#include <cstdint>
#include <vector>

#include "neigh/types.h"

namespace slabfwd {

/// A next hop as it is asked for. Origin: struct rtnexthop with its attributes.
struct fib_nh_config {
    be32_t gw{};
    bool has_gw = false;
    bool has_gw6 = false;
    uint8_t gw6[16] = {};
    int oif = 0;
    int weight = 1;
    uint32_t flags = 0; ///< RTNH_F_ONLINK
};

class fib_nh_list {
public:
    fib_nh_list() = default;
    fib_nh_list& operator=(const std::vector<fib_nh_config>& list) {
        resize(0);
        for (const fib_nh_config& nh : list)
            push_back(nh);
        return *this;
    }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    const fib_nh_config* data() const { return size_ > 1 ? several_.data() : &one_; }
    fib_nh_config* data() { return size_ > 1 ? several_.data() : &one_; }
    const fib_nh_config* begin() const { return data(); }
    const fib_nh_config* end() const { return data() + size_; }
    fib_nh_config* begin() { return data(); }
    fib_nh_config* end() { return data() + size_; }
    const fib_nh_config& operator[](size_t i) const { return data()[i]; }
    fib_nh_config& operator[](size_t i) { return data()[i]; }
    fib_nh_config& front() { return *data(); }
    fib_nh_config& back() { return data()[size_ - 1]; }
    void push_back(const fib_nh_config& nh) {
        const fib_nh_config copy = nh; // it may be one of ours
        resize(size_ + 1);
        back() = copy;
    }
    void emplace_back() { push_back({}); }
    void resize(size_t n) {
        if (n > 1) {
            several_.resize(n);
            if (size_ == 1)
                several_[0] = one_;
        } else {
            one_ = n && size_ ? front() : fib_nh_config{};
            several_.clear();
        }
        size_ = n;
    }

private:
    fib_nh_config one_;
    std::vector<fib_nh_config> several_; ///< all of them, when there are more than one
    size_t size_ = 0;
};

} // namespace slabfwd
