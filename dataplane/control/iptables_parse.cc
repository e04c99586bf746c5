// SPDX-License-Identifier: BSD-3-Clause
//
// The command line of iptables, word by word as getopt_long takes it: short options in clusters,
// long ones by any unique beginning, "!" before what it negates. Options of an extension are known
// once its -m, -j or -p has been read. Door: ipt_parse. Origin: iptables' xshared.c
// (do_parse and its command_* helpers), 1.8.9.
#include <algorithm>
#include <cctype>
#include <cstring>

#include <arpa/inet.h>

#include "dataplane/control/iptables.h"

namespace slabfwd {

namespace {

enum class takes : uint8_t { NOTHING, WORD, PERHAPS };
struct base_option {
    const char* name;
    char letter;
    takes arg;
    bool verb = false;
};
constexpr base_option base_options[] = {
    {"append", 'A', takes::WORD, true},
    {"delete", 'D', takes::WORD, true},
    {"check", 'C', takes::WORD, true},
    {"insert", 'I', takes::WORD, true},
    {"replace", 'R', takes::WORD, true},
    {"list", 'L', takes::PERHAPS, true},
    {"list-rules", 'S', takes::PERHAPS, true},
    {"flush", 'F', takes::PERHAPS, true},
    {"zero", 'Z', takes::PERHAPS, true},
    {"new-chain", 'N', takes::WORD, true},
    {"delete-chain", 'X', takes::PERHAPS, true},
    {"rename-chain", 'E', takes::WORD, true},
    {"policy", 'P', takes::WORD, true},
    {"source", 's', takes::WORD},
    {"src", 's', takes::WORD},
    {"destination", 'd', takes::WORD},
    {"dst", 'd', takes::WORD},
    {"protocol", 'p', takes::WORD},
    {"proto", 'p', takes::WORD},
    {"in-interface", 'i', takes::WORD},
    {"out-interface", 'o', takes::WORD},
    {"jump", 'j', takes::WORD},
    {"goto", 'g', takes::WORD},
    {"table", 't', takes::WORD},
    {"match", 'm', takes::WORD},
    {"numeric", 'n', takes::NOTHING},
    {"verbose", 'v', takes::NOTHING},
    {"exact", 'x', takes::NOTHING},
    {"line-numbers", '0', takes::NOTHING},
    {"wait", 'w', takes::PERHAPS},
    {"wait-interval", 'W', takes::WORD},
    {"fragments", 'f', takes::NOTHING},
    {"set-counters", 'c', takes::WORD},
    {"modprobe", 'M', takes::WORD},
    {"version", 'V', takes::NOTHING},
    {"help", 'h', takes::NOTHING},
    {"ipv4", '4', takes::NOTHING},
    {"ipv6", '6', takes::NOTHING},
};

/// Options that only go with some commands. Origin: options_v_commands.
struct option_rule {
    char letter;
    const char* verbs;
};
constexpr option_rule option_rules[] = {
    {'n', "L"},     {'x', "LS"},    {'0', "L"},     {'v', "ADCIRLSFZNXEP"}, {'c', "AIRPD"},
    {'s', "ADCIR"}, {'d', "ADCIR"}, {'p', "ADCIR"}, {'j', "ADCIR"},         {'i', "ADCIR"},
    {'o', "ADCIR"}, {'f', "ADCIR"}, {'g', "ADCIR"}, {'m', "ADCIR"}};

/// Matches and targets that Linux has and that wait for connection tracking or user space here.
constexpr struct {
    const char *name, *why;
} not_yet[] = {
    {"state", "needs connection tracking, which this version does not have"},
    {"conntrack", "needs connection tracking, which this version does not have"},
    {"connmark", "needs connection tracking, which this version does not have"},
    {"connbytes", "needs connection tracking, which this version does not have"},
    {"connlimit", "needs connection tracking, which this version does not have"},
    {"helper", "needs connection tracking, which this version does not have"},
    {"CONNMARK", "needs connection tracking, which this version does not have"},
    {"QUEUE", "needs a program in user space to queue to, and there is none"},
    {"NFQUEUE", "needs a program in user space to queue to, and there is none"},
};
const char* why_not_yet(std::string_view name) {
    for (const auto& n : not_yet)
        if (name == n.name)
            return n.why;
    return nullptr;
}

/// An extension in use: its options so far and where they go.
template <class Kind>
struct loaded {
    const ipt_extension<Kind>* ext;
    xt_entry<Kind> entry;
    uint32_t seen = 0;
};

class arg_parser {
public:
    arg_parser(ipt_context& x, std::span<const std::string> words, ipt_request* r)
        : x_(x), words_(words), r_(*r) {}

    bool run() {
        while (at_ < words_.size())
            if (!word())
                return false;
        return finish();
    }

private:
    using text = const std::string&;

    bool problem(std::string_view at, std::string why) { return x_.problem(at, std::move(why)); }
    bool has(char letter) const { return used_.find(letter) != std::string::npos; }

    // --- the words

    bool word() {
        text w = words_[at_++];
        if (w == "!") {
            if (invert_)
                return problem(w, "multiple consecutive ! not allowed");
            invert_ = true;
            return true;
        }
        bool ok = w.starts_with("--")           ? long_option(w)
                  : w.size() > 1 && w[0] == '-' ? cluster(w)
                                                : bad_argument(w);
        return ok;
    }
    bool bad_argument(text w) {
        return x_.c.fail(2, w,
                         fmt::format("Bad argument `{}'\nTry `{} -h' or '{} --help' for more "
                                     "information.\n",
                                     w, x_.tool, x_.tool));
    }
    /// -nvL, -s10.0.0.1
    bool cluster(text w) {
        for (size_t i = 1; i < w.size(); ++i) {
            auto o = std::ranges::find(base_options, w[i], &base_option::letter);
            if (o == std::end(base_options) || w[i] == '0')
                return problem(w, fmt::format("unknown option \"{}\"", w));
            if (o->arg == takes::NOTHING) {
                if (!base(*o, "", w))
                    return false;
                continue;
            }
            std::string rest = w.substr(i + 1);
            return with_argument(*o, !rest.empty(), rest, w);
        }
        return true;
    }
    bool long_option(text w) {
        size_t eq = w.find('=');
        std::string name = w.substr(2, eq == std::string::npos ? eq : eq - 2);
        std::string attached = eq == std::string::npos ? "" : w.substr(eq + 1);
        const bool is_attached = eq != std::string::npos;
        candidates found = look_up(name);
        if (!found.any() && load_protocol())
            found = look_up(name);
        if (!found.any() || name.empty())
            return problem(w, fmt::format("unknown option \"{}\"", w));
        if (found.ambiguous)
            return problem(w, fmt::format("option \"{}\" is ambiguous", w));
        if (found.base)
            return found.base->arg == takes::NOTHING && is_attached
                       ? problem(w, fmt::format("unknown option \"{}\"", w))
                       : with_argument(*found.base, is_attached, attached, w);
        if (!found.option->arg && is_attached)
            return problem(w, fmt::format("unknown option \"{}\"", w));
        std::string value = attached;
        if (found.option->arg && !is_attached && !argument(w, &value))
            return false;
        if (std::string_view(found.option->name) == "tcp-flags") {
            std::string comp;
            if (at_ >= words_.size())
                return problem(w, "--tcp-flags requires two args.");
            argument(w, &comp);
            value += " " + comp;
        }
        return found.match ? extension(*found.match, *found.option, value)
                           : extension(*target_, *found.option, value);
    }
    bool argument(text option, std::string* value) {
        if (at_ >= words_.size())
            return problem(option, fmt::format("option \"{}\" requires an argument", option));
        *value = words_[at_++];
        return true;
    }
    bool with_argument(const base_option& o, bool attached, text value, text w) {
        if (o.arg == takes::NOTHING || attached)
            return base(o, value, w);
        std::string next;
        if (o.arg == takes::WORD && !argument(w, &next))
            return false;
        if (o.arg == takes::PERHAPS && more_words())
            next = words_[at_++];
        return base(o, next, w);
    }
    bool more_words() const {
        return at_ < words_.size() && !words_[at_].empty() && words_[at_][0] != '-' &&
               words_[at_][0] != '!';
    }

    struct candidates {
        const base_option* base = nullptr;
        const ipt_option* option = nullptr;
        loaded<xt_match>* match = nullptr;
        bool exact = false, ambiguous = false;
        bool any() const { return base || option; }
    };
    /// The option that is called so, or begins so and is alone in that.
    candidates look_up(text name) {
        candidates best;
        auto offer = [&](const char* candidate, auto set) {
            if (!std::string_view(candidate).starts_with(name))
                return;
            bool exact = name == candidate;
            if (best.exact || (best.any() && !exact)) {
                best.ambiguous |= !best.exact;
                return;
            }
            best = {};
            best.exact = exact;
            set();
        };
        if (target_)
            for (const ipt_option& o : target_->ext->options)
                offer(o.name, [&] { best.option = &o; });
        for (size_t i = loaded_.size(); i-- > 0;)
            for (const ipt_option& o : loaded_[i].ext->options)
                offer(o.name, [&] {
                    best.option = &o;
                    best.match = &loaded_[i];
                });
        for (const base_option& o : base_options)
            offer(o.name, [&] { best.base = &o; });
        if (best.exact)
            best.ambiguous = false;
        return best;
    }
    /// -p tcp brings the match tcp along when an option asks for it.
    bool load_protocol() {
        if (!has('p') || proto_loaded_)
            return false;
        proto_loaded_ = true;
        std::string name = ipt_proto_name(r_.ip.proto, false);
        if (name != "tcp" && name != "udp" && name != "icmp")
            return false;
        return std::ranges::none_of(loaded_, [&](const auto& l) { return name == l.ext->name; }) &&
               load_match(name);
    }

    // --- options of extensions

    template <class Kind>
    bool extension(loaded<Kind>& l, const ipt_option& o, text value) {
        ipt_reading r{x_, r_.ip, l.ext->name, &o, value, invert_, l.seen};
        if (invert_ && !o.invertible)
            return problem(o.name, fmt::format("{}: option \"--{}\" cannot be inverted.\n",
                                               l.ext->name, o.name));
        if (r.has(o.id))
            return problem(o.name, fmt::format("{}: option \"--{}\" can only be used once.\n",
                                               l.ext->name, o.name));
        r.seen = l.seen |= 1u << o.id;
        invert_ = false;
        return l.ext->read(r, l.entry);
    }
    bool load_match(text name) {
        auto list = ipt_match_extensions();
        auto e = std::ranges::find_if(list, [&](const auto& m) { return name == m.name; });
        if (e == list.end()) {
            if (const char* why = why_not_yet(name))
                return problem(name, fmt::format("match `{}' {}", name, why));
            return problem(
                name, fmt::format("Couldn't load match `{}':No such file or directory\n", name));
        }
        loaded<xt_match> l{&*e, {}};
        e->make(l.entry, xt_find_match(e->kernel_name));
        loaded_.push_back(std::move(l));
        return true;
    }
    bool load_target(text name) {
        if (name.empty())
            return problem(name, "Invalid target name (too short)");
        if (name.size() >= XT_FUNCTION_MAXNAMELEN - 1)
            return problem(name, fmt::format("Invalid target name `{}' ({} chars max)", name,
                                             XT_FUNCTION_MAXNAMELEN - 2));
        if (std::ranges::any_of(name, [](unsigned char ch) { return isspace(ch); }))
            return problem(name, fmt::format("Invalid target name `{}'", name));
        r_.jump = name;
        auto list = ipt_target_extensions();
        auto e = std::ranges::find_if(list, [&](const auto& t) { return name == t.name; });
        if (e == list.end()) {
            const char* why = why_not_yet(name);
            return !why || problem(name, fmt::format("target `{}' {}", name, why));
        }
        target_.emplace(loaded<xt_target>{&*e, {}});
        e->make(target_->entry, xt_find_target(e->kernel_name));
        return true;
    }

    // --- options of iptables itself

    bool once(char letter, bool may_invert = false) {
        if (has(letter))
            return problem(std::string("-") + letter,
                           fmt::format("multiple -{} flags not allowed", letter));
        if (invert_ && !may_invert)
            return problem("!", fmt::format("cannot have ! before -{}", letter));
        used_ += letter;
        return true;
    }
    bool take_invert(uint8_t flag) {
        if (invert_)
            r_.ip.invflags |= flag;
        invert_ = false;
        return true;
    }

    bool base(const base_option& o, text value, text w) {
        if (o.verb)
            return verb(o, value);
        switch (o.letter) {
        case 's':
        case 'd':
            return address(o.letter, value);
        case 'p':
            return protocol(value);
        case 'i':
        case 'o':
            return interface(o.letter, value);
        case 'f':
            if (!once('f', true))
                return false;
            r_.ip.flags |= IPT_F_FRAG;
            return take_invert(IPT_INV_FRAG);
        case 'j':
            return once('j') && load_target(value);
        case 'g':
            if (!once('g'))
                return false;
            if (has('j'))
                return problem(w, "multiple -j flags not allowed");
            r_.is_goto = true;
            r_.jump = value;
            return true;
        case 'm':
            if (invert_)
                return problem("!", "unexpected ! flag before --match");
            used_ += has('m') ? "" : "m";
            proto_loaded_ |= has('p') && value == ipt_proto_name(r_.ip.proto, false);
            return load_match(value);
        case 't':
            if (invert_)
                return problem("!", "unexpected ! flag before --table");
            if (x_.table_given)
                return problem(w, fmt::format("The -t option cannot be used in {}.\n", x_.tool));
            r_.table = value;
            return true;
        case 'c':
            return once('c') && counters(value);
        case 'v':
            used_ += has('v') ? "" : "v";
            ++r_.verbose;
            return true;
        case 'n':
            r_.numeric = true;
            return once('n');
        case 'x':
            r_.exact = true;
            return once('x');
        case '0':
            r_.line_numbers = true;
            return once('0');
        case 'h':
        case 'V':
            r_.verb = o.letter;
            at_ = words_.size();
            return true;
        case '6':
            return problem(w, "IPv6 is not for this command");
        default: // -w, -W, -M, -4: nothing to wait for, to load, to choose
            return true;
        }
    }

    bool verb(const base_option& o, text value) {
        if (invert_)
            return problem("!", fmt::format("unexpected ! flag before --{}", o.name));
        const char old = r_.verb;
        const bool list_and_zero = (old == 'Z' && (o.letter == 'L' || o.letter == 'S')) ||
                                   (o.letter == 'Z' && (old == 'L' || old == 'S'));
        if (old && !list_and_zero)
            return problem(std::string("-") + o.letter,
                           fmt::format("Cannot use -{} with -{}", o.letter, old));
        if (list_and_zero)
            r_.zero_too = true;
        r_.verb = list_and_zero && o.letter == 'Z' ? old : o.letter;
        if (!value.empty() || o.arg == takes::WORD)
            r_.chain = value;
        switch (o.letter) {
        case 'N':
            return new_name(value);
        case 'E':
            if (!more_words())
                return problem(value, "-E requires old-chain-name and new-chain-name");
            r_.new_name = words_[at_++];
            return new_name(r_.new_name);
        case 'P':
            if (!more_words())
                return problem(value, "-P requires a chain and a policy");
            r_.policy = words_[at_++];
            return true;
        case 'R':
            return more_words() ? rule_number() : problem(value, "-R requires a rule number");
        case 'D':
        case 'I':
            return !more_words() || rule_number();
        case 'L':
        case 'S':
        case 'Z':
            return value.empty() || !more_words() || rule_number();
        default:
            return true;
        }
    }
    bool rule_number() {
        text w = words_[at_++];
        auto n = ipt_number(w, UINT32_MAX);
        if (!n || !*n)
            return problem(w, fmt::format("Invalid rule number `{}'", w));
        r_.rulenum = unsigned(*n);
        return true;
    }
    bool new_name(text name) {
        if (name.empty() || name[0] == '-' || name[0] == '!')
            return problem(
                name,
                fmt::format("chain name not allowed to {}",
                            name.empty() ? "be empty" : fmt::format("start with `{}'", name[0])));
        if (name.size() >= XT_FUNCTION_MAXNAMELEN - 1)
            return problem(name, fmt::format("chain name `{}' too long (must be under {} chars)",
                                             name, XT_FUNCTION_MAXNAMELEN - 1));
        if (std::ranges::any_of(name, [](unsigned char ch) { return !isgraph(ch); }) ||
            name.find_first_of("\"'\\") != std::string::npos) // could not be read again
            return problem(name, fmt::format("Invalid chain name `{}'", name));
        auto list = ipt_target_extensions();
        for (const char* standard : {"ACCEPT", "DROP", "RETURN", "QUEUE", "NFQUEUE"})
            if (name == standard)
                return problem(name, "chain name may not clash with target name");
        if (std::ranges::any_of(list, [&](const auto& t) { return name == t.name; }))
            return problem(name, "chain name may not clash with target name");
        return true;
    }

    // --- what a rule asks

    bool address(char letter, text list) {
        if (!once(letter, true))
            return false;
        auto& to = letter == 's' ? r_.src : r_.dst;
        for (size_t from = 0;;) {
            size_t comma = list.find(',', from);
            ipt_request::address a;
            if (!one_address(list.substr(from, comma - from), &a))
                return false;
            to.push_back(a);
            if (comma == std::string::npos)
                break;
            from = comma + 1;
        }
        if (invert_ && to.size() > 1)
            return problem(list, "! not allowed with multiple source or destination IP addresses");
        return take_invert(letter == 's' ? IPT_INV_SRCIP : IPT_INV_DSTIP);
    }
    bool one_address(text word, ipt_request::address* to) {
        size_t slash = word.find('/');
        std::string host = word.substr(0, slash);
        to->mask = be32_t{~0u};
        if (slash != std::string::npos) {
            std::string m = word.substr(slash + 1);
            in_addr dotted;
            if (inet_pton(AF_INET, m.c_str(), &dotted))
                to->mask.raw = dotted.s_addr;
            else if (auto n = ipt_number(m, 32))
                to->mask = inet_make_mask(int(*n));
            else
                return problem(word, fmt::format("invalid mask `{}' specified", m));
        }
        in_addr a;
        if (!inet_pton(AF_INET, host.c_str(), &a) && !network(host, &a) &&
            !(host.empty() && !to->mask))
            return problem(word, fmt::format("host/network `{}' not found", host));
        to->addr = be32_t{a.s_addr} & to->mask;
        return true;
    }
    /// "10", "192.168", "10.1.2": what is left out is 0.
    static bool network(text host, in_addr* to) {
        unsigned n = 0;
        uint32_t value = 0;
        for (size_t from = 0; from <= host.size(); ++n) {
            size_t dot = std::min(host.find('.', from), host.size());
            auto part = ipt_number(host.substr(from, dot - from), 255);
            if (!part || n == 4)
                return false;
            value |= uint32_t(*part) << (24 - 8 * n);
            from = dot + 1;
        }
        to->s_addr = htonl(value);
        return true;
    }
    bool protocol(text value) {
        if (!once('p', true))
            return false;
        auto proto = ipt_proto(value);
        if (!proto)
            return problem(value, fmt::format("unknown protocol \"{}\" specified", value));
        r_.ip.proto = *proto;
        if (!*proto && invert_)
            return problem(value, "rule would never match protocol");
        return take_invert(IPT_INV_PROTO);
    }
    bool interface(char letter, text name) {
        if (!once(letter, true))
            return false;
        if (name.size() >= IFNAMSIZ_)
            return problem(name, fmt::format("interface name `{}' must be shorter than IFNAMSIZ "
                                             "({})",
                                             name, IFNAMSIZ_ - 1));
        // No device can be called so, and a saved rule could not be read again.
        if (name.find_first_of("/\"'\\") != std::string::npos ||
            std::ranges::any_of(name, [](unsigned char ch) { return !isgraph(ch); }))
            return problem(name, fmt::format("weird character in interface `{}' ('/', quotes and "
                                             "' ' are not allowed)",
                                             name));
        char* to = letter == 'i' ? r_.ip.iniface : r_.ip.outiface;
        std::fill(to, to + IFNAMSIZ_, '\0');
        if (name != "+" || invert_) // any device at all: nothing is asked
            std::ranges::copy(name, to);
        return take_invert(letter == 'i' ? IPT_INV_VIA_IN : IPT_INV_VIA_OUT);
    }
    bool counters(text value) {
        size_t comma = value.find(',');
        std::string packets = value.substr(0, comma), bytes;
        if (comma != std::string::npos)
            bytes = value.substr(comma + 1);
        else if (more_words())
            bytes = words_[at_++];
        else
            return problem(value, "-c requires packet and byte counter");
        auto p = ipt_number(packets, UINT64_MAX), b = ipt_number(bytes, UINT64_MAX);
        if (!p)
            return problem(packets, "-c packet counter not numeric");
        if (!b)
            return problem(bytes, "-c byte counter not numeric");
        r_.counters = xt_counters{*p, *b};
        return true;
    }

    // --- the whole

    bool finish() {
        if (r_.verb == 'h' || r_.verb == 'V')
            return true;
        if (invert_)
            return problem("!", "nothing appropriate following !");
        for (auto& l : loaded_)
            if (!finish_extension(l))
                return false;
        if (target_ && !finish_extension(*target_))
            return false;
        if (!r_.verb)
            return problem("", "no command specified");
        for (const option_rule& rule : option_rules)
            if (has(rule.letter) && !strchr(rule.verbs, r_.verb))
                return problem(std::string("-") + rule.letter,
                               fmt::format("Illegal option `-{}' with this command", rule.letter));
        if (has('j') && has('g'))
            return problem("-g", "multiple -j flags not allowed");
        if (!interfaces_fit() || !protocols_fit())
            return false;
        for (auto& l : loaded_)
            r_.matches.push_back(std::move(l.entry));
        if (target_)
            r_.target = std::move(target_->entry);
        return true;
    }
    template <class Kind>
    bool finish_extension(loaded<Kind>& l) {
        if (!l.ext->finish)
            return true;
        ipt_reading r{x_, r_.ip, l.ext->name, nullptr, l.ext->name, false, l.seen};
        return l.ext->finish(r, l.entry);
    }
    bool interfaces_fit() {
        const bool no_out = r_.chain == "PREROUTING" || r_.chain == "INPUT",
                   no_in = r_.chain == "POSTROUTING" || r_.chain == "OUTPUT";
        if ((no_out && has('o')) || (no_in && has('i')))
            return problem(no_out ? "-o" : "-i",
                           fmt::format("Can't use -{} with {}\n", no_out ? 'o' : 'i', r_.chain));
        return true;
    }
    bool protocols_fit() {
        for (const auto& l : loaded_) {
            const xt_match& kind = *l.entry.kind;
            const bool fits = r_.ip.proto == kind.proto && !(r_.ip.invflags & IPT_INV_PROTO);
            if (kind.proto == IPPROTO_TCP_ && !fits)
                return problem("tcp", "TCP match requires '-p tcp'");
            if (kind.proto == IPPROTO_UDP_ && !fits)
                return problem("udp", "UDP match requires '-p udp'");
        }
        return true;
    }

    ipt_context& x_;
    std::span<const std::string> words_;
    ipt_request& r_;
    size_t at_ = 0;
    bool invert_ = false, proto_loaded_ = false;
    std::string used_; ///< letters of the options so far
    std::vector<loaded<xt_match>> loaded_;
    std::optional<loaded<xt_target>> target_;
};

} // namespace

bool ipt_parse(ipt_context& x, std::span<const std::string> words, ipt_request* r) {
    return arg_parser(x, words, r).run();
}

} // namespace slabfwd
