// SPDX-License-Identifier: BSD-3-Clause
//
// The ctl socket: exit status and both streams reach the client, one instance a path, and whatever
// a client does the others are served. ping and trace, which go on while others are served.
#include <fcntl.h>
#include <fstream>
#include <gmock/gmock.h>
#include <poll.h>
#include <random>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include "dataplane/control/job.h"
#include "dataplane/control/printer.h"
#include "dataplane/control/protocol.h"
#include "tests/dataplane/control/control_net.h"

namespace slabfwd::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

/// A raw connection to the server.
class raw_client {
public:
    explicit raw_client(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un a{};
        a.sun_family = AF_UNIX;
        strcpy(a.sun_path, path.c_str());
        connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
    }
    ~raw_client() { close(fd_); }
    raw_client(const raw_client&) = delete;
    raw_client& operator=(const raw_client&) = delete;

    bool connected() const { return connected_; }
    int fd() const { return fd_; }
    bool send_bytes(std::string_view data) {
        while (!data.empty()) {
            ssize_t n = send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
            if (n <= 0)
                return false;
            data.remove_prefix(size_t(n));
        }
        return true;
    }
    bool command(const std::vector<std::string>& words) {
        std::string data;
        for (const std::string& w : words)
            data += w + '\0';
        return send_bytes(make_frame(FRAME_COMMAND, data));
    }
    /// What comes until the exit status; rc -1 when the connection ends first or nothing comes for
    /// 10 s.
    control_result result() {
        control_result r;
        for (;;) {
            char header[FRAME_HEADER];
            if (!read_all(header, sizeof header)) {
                r.rc = -1;
                return r;
            }
            std::string data(frame_length(header), '\0');
            if (!read_all(data.data(), data.size())) {
                r.rc = -1;
                return r;
            }
            if (header[4] == FRAME_EXIT) {
                int32_t rc;
                memcpy(&rc, data.data(), sizeof rc);
                r.rc = rc;
                return r;
            }
            (header[4] == FRAME_OUT ? r.out : r.err) += data;
        }
    }
    /// True when the server has closed the connection within 10 s.
    bool closed() {
        char c;
        pollfd p{fd_, POLLIN, 0};
        while (poll(&p, 1, 10000) > 0) {
            ssize_t n = recv(fd_, &c, 1, 0);
            if (n <= 0)
                return true;
        }
        return false;
    }

private:
    bool read_all(char* to, size_t len) {
        while (len) {
            pollfd p{fd_, POLLIN, 0};
            if (poll(&p, 1, 10000) <= 0)
                return false;
            ssize_t n = recv(fd_, to, len, 0);
            if (n <= 0)
                return false;
            to += n;
            len -= size_t(n);
        }
        return true;
    }
    int fd_;
    bool connected_;
};

/// A router whose control thread serves a socket.
class Server : public testing::Test {
protected:
    void SetUp() override {
        char folder[] = "/tmp/sfctl.XXXXXX";
        dir = mkdtemp(folder);
        path = dir + "/ctl.sock";
        auto listener = control_listen(path);
        ASSERT_TRUE(listener) << listener.error();
        socket = std::move(*listener);
        for (const char* line : TWO_PORTS)
            r.must(line);
        stop = eventfd(0, EFD_CLOEXEC);
        limits.request_ns = 300'000'000;
        limits.stuck_ns = 500'000'000;
        limits.clients = 4;
        limits.output_bytes = 8 << 20;
        thread = std::thread([this] {
            r.enter(r.n.control_cpu());
            control_serve(
                r.n, *socket, stop, [this] { ++turns; }, 10'000'000, limits);
        });
    }
    void TearDown() override {
        uint64_t one = 1;
        ASSERT_EQ(write(stop, &one, sizeof one), ssize_t(sizeof one));
        thread.join();
        socket.reset();
        EXPECT_NE(access(path.c_str(), F_OK), 0);
        rmdir(dir.c_str());
        close(stop);
        r.enter(0);
    }
    control_result ask(const std::vector<std::string>& words) {
        raw_client c(path);
        return c.connected() && c.command(words) ? c.result() : control_result{-2, "", ""};
    }
    void expect_served() { EXPECT_THAT(ask({"ip", "link", "show"}).out, HasSubstr("p0")); }

    control_net r;
    std::string dir, path;
    std::unique_ptr<control_listener> socket;
    int stop = -1;
    control_limits limits;
    std::atomic<unsigned> turns{0};
    std::thread thread;
};

TEST_F(Server, StatusAndBothStreams) {
    control_result got = ask({"ip", "route", "add", "10.1.0.0/16", "via", "10.0.1.2"});
    EXPECT_EQ(got.rc, 0);
    EXPECT_EQ(got.out + got.err, "");
    got = ask({"ip", "route", "add", "10.1.0.0/16", "via", "10.0.1.2"});
    EXPECT_EQ(got.rc, 2);
    EXPECT_EQ(got.err, "RTNETLINK answers: File exists\n");
    got = ask({"ip", "route", "show", "10.1.0.0/16"});
    EXPECT_EQ(got.out, "10.1.0.0/16 via 10.0.1.2 dev p1 \n");
    EXPECT_EQ(ask({"ip", "route", "frob"}).rc, 255);
    EXPECT_EQ(ask({}).rc, 1);
    struct stat st;
    ASSERT_EQ(stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
    EXPECT_GT(turns, 0u);
}

TEST_F(Server, SeveralCommandsOnOneConnection) {
    raw_client c(path);
    ASSERT_TRUE(c.command({"sysctl", "-n", "net.ipv4.ip_forward"}) &&
                c.command({"ip", "link", "show", "nope"}) &&
                c.command({"ip", "-br", "link", "show", "lo"}));
    EXPECT_EQ(c.result().out, "1\n");
    EXPECT_EQ(c.result().rc, 1);
    EXPECT_THAT(c.result().out, StartsWith("lo "));
    // One who closes his side after asking gets the answer.
    ASSERT_TRUE(c.command({"ip", "rule"}));
    shutdown(c.fd(), SHUT_WR);
    EXPECT_THAT(c.result().out, HasSubstr("from all lookup main"));
    EXPECT_TRUE(c.closed());
}

TEST_F(Server, ASecondInstanceIsRefused) {
    auto second = control_listen(path);
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error(), AllOf(HasSubstr(path), HasSubstr("another instance")));
    expect_served();
}

/// What commands take away is freed as it comes, however seldom the control thread has its turn.
TEST(ControlThread, FreesWithoutWaitingForItsTurn) {
    static std::atomic<unsigned> freed;
    freed = 0;
    control_net r;
    r.enter(r.n.control_cpu()); // the control thread's slot, used before it starts
    std::vector<rcu_head> heads(20'000);
    for (rcu_head& head : heads)
        call_rcu(&head, [](rcu_head*) { ++freed; });
    r.enter(0);
    char folder[] = "/tmp/sfctl.XXXXXX";
    const std::string dir = mkdtemp(folder);
    auto listener = control_listen(dir + "/s");
    ASSERT_TRUE(listener) << listener.error();
    const int stop = eventfd(0, EFD_CLOEXEC);
    std::thread thread([&] {
        r.enter(r.n.control_cpu());
        control_serve(r.n, **listener, stop, {}, 3600 * uint64_t(NSEC_PER_SEC));
    });
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (freed < heads.size() && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(freed, heads.size());
    const uint64_t one = 1;
    ASSERT_EQ(write(stop, &one, sizeof one), ssize_t(sizeof one));
    thread.join();
    r.enter(0);
    listener->reset();
    rmdir(dir.c_str());
    close(stop);
}

TEST(Listen, StaleFilesAreReplacedOthersAreNot) {
    char folder[] = "/tmp/sfctl.XXXXXX";
    std::string dir = mkdtemp(folder), path = dir + "/s";
    {
        // A socket that its owner left behind.
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un a{};
        a.sun_family = AF_UNIX;
        strcpy(a.sun_path, path.c_str());
        ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
        close(fd);
    }
    EXPECT_TRUE(control_listen(path));
    EXPECT_NE(access(path.c_str(), F_OK), 0) << "the listener takes its file away";
    std::ofstream(path) << "precious";
    auto taken = control_listen(path);
    ASSERT_FALSE(taken);
    EXPECT_THAT(taken.error(), HasSubstr("no socket"));
    unlink(path.c_str());
    EXPECT_THAT(control_listen(dir + "/no/such/folder").error(), HasSubstr("No such file"));
    EXPECT_THAT(control_listen(std::string(200, 'x')).error(), HasSubstr("too long"));
    rmdir(dir.c_str());
}

TEST(Listen, WhereTheSocketLies) {
    setenv("RUNTIME_DIRECTORY", "/some/where", 1);
    EXPECT_EQ(control_socket_path(""), "/some/where/slabfwd.sock");
    EXPECT_EQ(control_socket_path("/x"), "/x");
    unsetenv("RUNTIME_DIRECTORY");
    EXPECT_EQ(control_socket_path(""), "/run/slabfwd.sock");
}

TEST_F(Server, MalformedRequestsEndTheSessionOnly) {
    const std::string too_long =
        make_frame(FRAME_COMMAND, std::string(limits.request_bytes + 1, 'x'));
    std::string many;
    for (size_t i = 0; i <= limits.request_words; ++i)
        many += std::string("w") + '\0';
    for (const std::string& bytes :
         {std::string("GET / HTTP/1.1\r\n\r\n"), make_frame('Z', "x"),
          make_frame(FRAME_COMMAND, "no end"), make_frame(FRAME_OUT, "x"), std::string(64, '\xff'),
          too_long, make_frame(FRAME_COMMAND, many)}) {
        raw_client c(path);
        c.send_bytes(bytes);
        EXPECT_TRUE(c.closed()) << bytes.substr(0, 20);
        expect_served();
    }
}

TEST_F(Server, RandomBytes) {
    std::mt19937 rng(3);
    for (int i = 0; i < 200; ++i) {
        raw_client c(path);
        std::string bytes(rng() % 64, '\0');
        for (char& b : bytes)
            b = char(rng());
        if (rng() % 2)
            bytes = make_frame(rng() % 2 ? FRAME_COMMAND : FRAME_INTERRUPT, bytes);
        c.send_bytes(bytes);
    }
    expect_served();
}

TEST_F(Server, AHalfRequestTimesOut) {
    raw_client c(path);
    ASSERT_TRUE(c.send_bytes(make_frame(FRAME_COMMAND, std::string("ip\0link\0", 8)).substr(0, 9)));
    expect_served();
    EXPECT_TRUE(c.closed());
}

TEST_F(Server, OneWhoDoesNotReadIsCutOff) {
    for (int i = 0; i < 400; ++i)
        ASSERT_EQ(
            ask({"ip", "route", "add",
                 "172.16." + std::to_string(i / 2) + "." + std::to_string(i % 2 * 128) + "/25",
                 "via", "10.0.1.2"})
                .rc,
            0);
    raw_client c(path);
    int small = 4096;
    setsockopt(c.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 100; ++i)
        c.command({"ip", "-d", "-j", "-p", "route", "show", "table", "all"});
    expect_served(); // meanwhile
    std::this_thread::sleep_for(std::chrono::milliseconds(900));
    expect_served();
    // Whatever was sent can be read, then the connection is at its end.
    EXPECT_TRUE(c.closed());
}

TEST_F(Server, LongOutputArrivesWhole) {
    for (int i = 0; i < 2000; ++i)
        ASSERT_EQ(ask({"ip", "route", "add",
                       "172.16." + std::to_string(i / 8) + "." + std::to_string(i % 8 * 32) + "/27",
                       "via", "10.0.1.2"})
                      .rc,
                  0);
    control_result got = ask({"ip", "-j", "-d", "route", "show", "root", "172.16.0.0/12"});
    EXPECT_EQ(got.rc, 0);
    EXPECT_EQ(json::parse(got.out).size(), 2000u);
}

TEST_F(Server, TooManyClients) {
    std::vector<std::unique_ptr<raw_client>> idle;
    for (int i = 0; i < 12; ++i)
        idle.push_back(std::make_unique<raw_client>(path));
    expect_served(); // the idlest made room
}

TEST_F(Server, PingGoesOnWhileOthersAreServed) {
    raw_client c(path);
    ASSERT_TRUE(c.command({"ping", "-i", "0.02", "-W", "1", "10.0.1.77"})); // nobody answers there
    expect_served();
    EXPECT_EQ(ask({"ping", "-c", "1", "10.0.1.78"}).err, "ping: another ping is running\n");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ASSERT_TRUE(c.send_bytes(make_frame(FRAME_INTERRUPT, "")));
    control_result got = c.result();
    EXPECT_EQ(got.rc, 1);
    EXPECT_THAT(got.out, AllOf(StartsWith("PING 10.0.1.77 (10.0.1.77) 56(84) bytes of data.\n"),
                               HasSubstr("\n--- 10.0.1.77 ping statistics ---\n"),
                               HasSubstr(" 0 received"), HasSubstr("100% packet loss")));
    // One who goes away ends it too.
    {
        raw_client gone(path);
        ASSERT_TRUE(gone.command({"ping", "10.0.1.77"}));
        expect_served();
    }
    for (int i = 0;
         i < 100 &&
         ask({"ping", "-c", "1", "-W", "0", "10.0.1.77"}).err.find("another") != std::string::npos;
         ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_THAT(ask({"ping", "-c", "1", "-W", "0", "10.0.1.77"}).out,
                HasSubstr("1 packets transmitted, 0 received"));
}

TEST_F(Server, TheClientProgram) {
    auto ctl = [&](std::vector<std::string> words, std::string* out, std::string* err) {
        words.insert(words.begin(), {"ctl", "--ctl", path});
        std::vector<char*> argv;
        for (std::string& w : words)
            argv.push_back(w.data());
        argv.push_back(nullptr);
        testing::internal::CaptureStdout();
        testing::internal::CaptureStderr();
        int rc = ctl_main(int(words.size()), argv.data());
        *out = testing::internal::GetCapturedStdout();
        *err = testing::internal::GetCapturedStderr();
        return rc;
    };
    std::string out, err;
    EXPECT_EQ(ctl({"sysctl", "net.ipv4.ip_forward"}, &out, &err), 0);
    EXPECT_EQ(out, "net.ipv4.ip_forward = 1\n");
    EXPECT_EQ(ctl({"ip", "route", "del", "10.9.0.0/16"}, &out, &err), 2);
    EXPECT_EQ(err, "RTNETLINK answers: No such process\n");
    EXPECT_EQ(ctl({"-j", "ip", "rule", "show", "pref", "32766"}, &out, &err), 0);
    EXPECT_EQ(out, "[{\"priority\":32766,\"src\":\"all\",\"table\":\"main\"}]\n");
    std::string file = dir + "/batch";
    std::ofstream(file)
        << "ip route add 10.1.0.0/16 via 10.0.1.2 # one\n\nip route add 10.1.0.0/16 via 10.0.1.2\n"
           "ip route add 10.2.0.0/16 via 10.0.1.2\n";
    EXPECT_EQ(ctl({"-batch", file}, &out, &err), 1);
    EXPECT_THAT(err, AllOf(HasSubstr("File exists"), HasSubstr("Command failed " + file + ":3")));
    EXPECT_EQ(ctl({"ip", "route", "show", "10.2.0.0/16"}, &out, &err), 0);
    EXPECT_EQ(out, "");
    EXPECT_EQ(ctl({"-force", "-batch", file}, &out, &err), 1);
    EXPECT_EQ(ctl({"ip", "route", "show", "10.2.0.0/16"}, &out, &err), 0);
    EXPECT_EQ(out, "10.2.0.0/16 via 10.0.1.2 dev p1 \n");
    unlink(file.c_str());
    path += "x";
    EXPECT_EQ(ctl({"ip", "link"}, &out, &err), 1);
    EXPECT_THAT(err, AllOf(HasSubstr(path), HasSubstr("no router is listening")));
    path.pop_back();
}

// --- ping and trace, stepped by hand ------------------------------------------------------------

struct job_run {
    control_result result;
    string_output to{result};
    std::unique_ptr<control_job> job;
};

void start(control_net& r, job_run& j, const std::vector<std::string>& words) {
    j.job = control_begin(r.n, words, j.to, &j.result.rc);
}

TEST(Ping, RepliesAndErrorsAsPingPrintsThem) {
    control_net r;
    for (const char* line : TWO_PORTS)
        r.must(line);
    r.must("ip neigh add 10.0.1.2 lladdr 02:bb:00:00:00:02 dev p1");
    job_run j;
    start(r, j, {"ping", "-c", "2", "-i", "0.001", "-I", "10.0.0.1", "-t", "9", "10.0.1.2"});
    ASSERT_TRUE(j.job) << j.result.err;
    uint64_t now = monotonic_ns();
    ASSERT_TRUE(j.job->step(j.to, now));
    auto answer = [&](int type, bool error) {
        ip_view sent = r.sent_one(r.p1);
        EXPECT_EQ(sent.ip()->ttl, 9);
        EXPECT_TRUE(sent.ok() && sent.icmp_checksum_ok());
        EXPECT_EQ(sent.b.size(), 84u);
        ip_spec s;
        s.src = ip("10.0.1.2");
        s.dst = ip("10.0.0.1");
        s.proto = IPPROTO_ICMP_;
        bytes data(sent.b.begin() + 28, sent.b.end());
        s.payload = error ? icmp_message(3, 10, 0, bytes(sent.b.begin(), sent.b.begin() + 28))
                          : icmp_message(uint8_t(type), 0, be32_to_cpu(sent.icmp()->un.rest), data);
        r.enter(0);
        r.rx(r.p1, ip_packet(s));
        r.enter(r.n.control_cpu());
    };
    answer(0, false);
    ASSERT_TRUE(j.job->step(j.to, now + 2'000'000));
    answer(0, true);
    EXPECT_FALSE(j.job->step(j.to, now + 3'000'000));
    EXPECT_EQ(j.job->rc, 0);
    EXPECT_THAT(j.result.out,
                testing::MatchesRegex(
                    "PING 10.0.1.2 .10.0.1.2. from 10.0.0.1 : 56.84. bytes of data.\n"
                    "64 bytes from 10.0.1.2: icmp_seq=1 ttl=64 time=[0-9.]+ ms\n"
                    "From 10.0.1.2 icmp_seq=2 Destination Host Prohibited\n\n"
                    "--- 10.0.1.2 ping statistics ---\n"
                    "2 packets transmitted, 1 received, .1 errors, 50% packet loss, time 2ms\n"
                    "rtt min/avg/max/mdev = [0-9.]+/[0-9.]+/[0-9.]+/0.000 ms\n"));
    j.job.reset();
    r.enter(0);
    r.end_burst();
}

TEST(Trace, WalksOfTheNextPackets) {
    control_net r;
    for (const char* line : TWO_PORTS)
        r.must(line);
    r.must("ip neigh add 10.0.1.2 lladdr 02:bb:00:00:00:02 dev p1");
    job_run j;
    start(r, j, {"trace", "1"});
    ASSERT_TRUE(j.job) << j.result.err;
    EXPECT_EQ(r.run("trace 1").err, "trace: somebody else is tracing\n");
    ip_spec s;
    s.payload = udp_datagram(s, 1000, 53, pattern(4));
    for (int i = 0; i < 2; ++i) {
        r.enter(0);
        r.rx(r.p0, ip_packet(s));
        r.enter(r.n.control_cpu());
    }
    EXPECT_EQ(r.sent(r.p1).size(), 2u);
    uint64_t now = monotonic_ns();
    EXPECT_TRUE(j.job->step(j.to, now));
    EXPECT_FALSE(j.job->step(j.to, now + 1'000'000'000));
    EXPECT_EQ(j.job->rc, 0);
    EXPECT_THAT(j.result.out,
                AllOf(StartsWith("packet 1: p0 "),
                      HasSubstr("10.0.0.2 > 10.0.1.2 UDP 1000 > 53 ttl 64"), HasSubstr("ip_rcv"),
                      HasSubstr("ip_forward"), HasSubstr("dev_queue_xmit")));
    EXPECT_EQ(j.result.out.find("packet 2"), std::string::npos);
    j.job.reset();
    EXPECT_EQ(r.n.softnet[0]->tracer, nullptr);
    r.enter(0);
}

} // namespace
} // namespace slabfwd::test
