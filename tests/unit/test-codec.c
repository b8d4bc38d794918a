/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "sdm/sdm-codec.h"

#define MiB  (1ull << 20)

/* One valid message of every type. */
static struct sdm_msg sample(uint16_t type)
{
    struct sdm_msg m;

    memset(&m, 0, sizeof(m));
    m.type = type;
    switch (type) {
    case SDM_WIRE_HELLO:
        m.u.hello.version_min = 1;
        m.u.hello.version_max = 3;
        m.u.hello.role = SDM_ROLE_SLAVE;
        m.u.hello.machine = 40;
        m.u.hello.features = 0x10003;
        m.u.hello.want_id = 7;
        m.u.hello.ram_base = 0x40000000;
        m.u.hello.ram_size = 512 * MiB;
        strcpy(m.u.hello.name, "core-0.A_z");
        break;
    case SDM_WIRE_WELCOME:
        m.u.welcome.version = 1;
        m.u.welcome.fds = SDM_WIRE_FDS;
        m.u.welcome.id = 3;
        m.u.welcome.num_slaves = 64;
        m.u.welcome.features = 0x0f;
        m.u.welcome.memory_size = 1024 * MiB;
        m.u.welcome.window_offset = 512 * MiB;
        m.u.welcome.window_size = 256 * MiB;
        m.u.welcome.page_size = 2 * MiB;
        break;
    case SDM_WIRE_BOOT:
        m.seq = 5;
        m.u.boot.offset = 512 * MiB;
        m.u.boot.size = 256 * MiB;
        break;
    case SDM_WIRE_RESET:
    case SDM_WIRE_STOP:
    case SDM_WIRE_GET_DTB:
        m.seq = UINT32_MAX;
        break;
    case SDM_WIRE_ANSWER:
        m.seq = 6;
        m.u.answer.status = SDM_ERR_RECORD;
        strcpy(m.u.answer.text, "magic is 0x0");
        break;
    case SDM_WIRE_ERROR:
        m.u.answer.status = SDM_ERR_VERSION;
        strcpy(m.u.answer.text, "versions 2 to 3");
        break;
    case SDM_WIRE_DTB:
        m.seq = 8;
        m.u.dtb.size = 12345;
        break;
    case SDM_WIRE_STATE:
        m.u.state.state = SDM_STATE_CRASHED;
        break;
    case SDM_WIRE_PEER:
        m.u.peer.id = 64;
        m.u.peer.state = SDM_STATE_RUNNING;
        m.u.peer.machine = 183;
        m.u.peer.pid = 4321;
        m.u.peer.ram_base = 0x80000000;
        m.u.peer.ram_size = 64 * MiB;
        m.u.peer.window_offset = 2 * MiB;
        m.u.peer.window_size = 64 * MiB;
        m.u.peer.boots = 1;
        m.u.peer.sent = 2;
        m.u.peer.taken = 3;
        m.u.peer.refused = UINT64_MAX;
        memset(m.u.peer.name, 'n', SDM_NAME_MAX);
        break;
    }
    return m;
}

static unsigned sample_fds(uint16_t type)
{
    return type == SDM_WIRE_WELCOME ? 4 : type == SDM_WIRE_DTB ? 1 : 0;
}

static int decode_untouched(const void *buf, size_t len, unsigned nfds)
{
    struct sdm_msg m, before;
    int err;

    memset(&m, 0x5a, sizeof(m));
    memcpy(&before, &m, sizeof(m));
    err = sdm_msg_decode(&m, buf, len, nfds);
    if (err) {
        assert_memory_equal(&m, &before, sizeof(m));
    }
    return err;
}

/* Bytes of the sample, with @size bytes at @offset set to @value. */
static int decode_with(uint16_t type, size_t offset, size_t size,
                       uint64_t value)
{
    unsigned char buf[SDM_WIRE_MAX];
    struct sdm_msg m = sample(type);
    int len = sdm_msg_encode(&m, buf);
    sdm_le64 le = sdm_to_le64(value);

    assert_true(len > 0 && offset + size <= (size_t)len);
    memcpy(buf + offset, &le, size);
    return decode_untouched(buf, len, sample_fds(type));
}

#define WITH(type, strct, field, value)                                 \
    decode_with(type, offsetof(struct strct, field),                    \
                sizeof(((struct strct *)0)->field), value)

static void test_round_trip(void **state)
{
    uint16_t type;

    (void)state;
    for (type = 1; type < SDM_WIRE_TYPES; type++) {
        unsigned char buf[SDM_WIRE_MAX + 1];
        struct sdm_msg in = sample(type), out;
        unsigned shift;

        /* at any alignment */
        for (shift = 0; shift < 2; shift++) {
            int len = sdm_msg_encode(&in, buf + shift);

            assert_true(len >= (int)sizeof(struct sdm_wire_header));
            assert_int_equal(sdm_msg_decode(&out, buf + shift, len,
                                            sample_fds(type)), 0);
            assert_memory_equal(&in, &out, sizeof(in));
        }
    }
}

/* The bytes themselves, once: what another implementation must produce. */
static void test_bytes(void **state)
{
    static const unsigned char expected[] = {
        0x53, 0x44, 0x4d, 0x57, 4, 0, 0, 0, 32, 0, 0, 0, 5, 0, 0, 0,
        0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0,
    };
    unsigned char buf[SDM_WIRE_MAX];
    struct sdm_msg m = sample(SDM_WIRE_BOOT);

    (void)state;
    assert_int_equal(sdm_msg_encode(&m, buf), sizeof(expected));
    assert_memory_equal(buf, expected, sizeof(expected));
}

static void test_encode_unknown(void **state)
{
    unsigned char buf[SDM_WIRE_MAX];
    struct sdm_msg m = sample(SDM_WIRE_BOOT);

    (void)state;
    m.type = 0;
    assert_int_equal(sdm_msg_encode(&m, buf), -EINVAL);
    m.type = SDM_WIRE_TYPES;
    assert_int_equal(sdm_msg_encode(&m, buf), -EINVAL);
    m.type = UINT16_MAX;
    assert_int_equal(sdm_msg_encode(&m, buf), -EINVAL);
}

/* A message leaks nothing of the encoder's memory: unused bytes are 0. */
static void test_encode_padding(void **state)
{
    unsigned char buf[SDM_WIRE_MAX];
    struct sdm_msg m = sample(SDM_WIRE_HELLO);
    size_t name = offsetof(struct sdm_wire_hello, name);
    size_t i;

    (void)state;
    memset(m.u.hello.name, 's', sizeof(m.u.hello.name));
    strcpy(m.u.hello.name, "ab");
    memset(buf, 0x5a, sizeof(buf));
    assert_int_equal(sdm_msg_encode(&m, buf), sizeof(struct sdm_wire_hello));
    for (i = name + 2; i < sizeof(struct sdm_wire_hello); i++) {
        assert_int_equal(buf[i], 0);
    }
    assert_int_equal(buf[sizeof(struct sdm_wire_hello)], 0x5a);
}

/* Every length that a message can be cut to, and some that are too long. */
static void test_lengths(void **state)
{
    uint16_t type;

    (void)state;
    for (type = 1; type < SDM_WIRE_TYPES; type++) {
        struct sdm_msg m = sample(type);
        unsigned nfds = sample_fds(type);
        unsigned char *buf = calloc(1, SDM_WIRE_MAX);
        int len = sdm_msg_encode(&m, buf);
        int n;

        for (n = 0; n < len; n++) {
            /* exactly n bytes, so that a sanitizer sees a read behind them */
            unsigned char *cut = malloc(n ? n : 1);
            sdm_le32 le = sdm_to_le32(n);
            int err;

            memcpy(cut, buf, n);
            err = decode_untouched(cut, n, nfds);
            assert_int_equal(err, n < 16 ? -EBADMSG : -EMSGSIZE);
            /* and with a header that agrees with the packet */
            if (n >= 12) {
                memcpy(cut + 8, &le, 4);
                err = decode_untouched(cut, n, nfds);
                assert_int_equal(err, n < 16 ? -EBADMSG : -EMSGSIZE);
            }
            free(cut);
        }
        for (n = len + 1; n < len + 40; n++) {
            sdm_le32 le = sdm_to_le32(n);

            assert_int_equal(decode_untouched(buf, n, nfds), -EMSGSIZE);
            memcpy(buf + 8, &le, 4);
            assert_int_equal(decode_untouched(buf, n, nfds), -EMSGSIZE);
            le = sdm_to_le32(len);
            memcpy(buf + 8, &le, 4);
        }
        free(buf);
    }
}

static void test_too_long(void **state)
{
    unsigned char *buf = calloc(1, SDM_WIRE_MAX + 1);
    struct sdm_msg m = sample(SDM_WIRE_RESET);
    sdm_le32 le = sdm_to_le32(SDM_WIRE_MAX + 1);

    (void)state;
    sdm_msg_encode(&m, buf);
    memcpy(buf + 8, &le, 4);
    assert_int_equal(decode_untouched(buf, SDM_WIRE_MAX + 1, 0), -EMSGSIZE);
    free(buf);
}

static void test_fds(void **state)
{
    uint16_t type;
    unsigned nfds;

    (void)state;
    for (type = 1; type < SDM_WIRE_TYPES; type++) {
        unsigned char buf[SDM_WIRE_MAX];
        struct sdm_msg m = sample(type);
        int len = sdm_msg_encode(&m, buf);

        for (nfds = 0; nfds <= SDM_WIRE_MAX_FDS + 1; nfds++) {
            assert_int_equal(decode_untouched(buf, len, nfds),
                             nfds == sample_fds(type) ? 0 : -EPROTO);
        }
    }
    /* WELCOME is counted by its own bits */
    for (nfds = 0; nfds <= SDM_WIRE_MAX_FDS; nfds++) {
        unsigned char buf[SDM_WIRE_MAX];
        struct sdm_msg m = sample(SDM_WIRE_WELCOME);
        int len;

        m.u.welcome.fds = SDM_WIRE_FD_MEMORY | SDM_WIRE_FD_TO_MASTER;
        len = sdm_msg_encode(&m, buf);
        assert_int_equal(decode_untouched(buf, len, nfds),
                         nfds == 2 ? 0 : -EPROTO);
    }
}

static void test_bad_header(void **state)
{
    uint16_t type;

    (void)state;
    for (type = 1; type < SDM_WIRE_TYPES; type++) {
        struct sdm_msg m = sample(type);

        assert_int_equal(WITH(type, sdm_wire_header, magic, 0), -EBADMSG);
        assert_int_equal(WITH(type, sdm_wire_header, magic,
                              SDM_WIRE_MAGIC + 1), -EBADMSG);
        assert_int_equal(WITH(type, sdm_wire_header, flags, 1), -EBADMSG);
        assert_int_equal(WITH(type, sdm_wire_header, flags, 0x8000),
                         -EBADMSG);
        assert_int_equal(WITH(type, sdm_wire_header, type, 0), -EBADMSG);
        assert_int_equal(WITH(type, sdm_wire_header, type, SDM_WIRE_TYPES),
                         -EBADMSG);
        assert_int_equal(WITH(type, sdm_wire_header, type, UINT16_MAX),
                         -EBADMSG);
        assert_int_equal(WITH(type, sdm_wire_header, length, 0), -EMSGSIZE);
        assert_int_equal(WITH(type, sdm_wire_header, length, UINT32_MAX),
                         -EMSGSIZE);
        /* a request must have a number, all else none */
        assert_int_equal(WITH(type, sdm_wire_header, seq, m.seq ? 0 : 1),
                         -EBADMSG);
    }
}

#define HELLO(field, value)                                             \
    WITH(SDM_WIRE_HELLO, sdm_wire_hello, field, value)
#define WELCOME(field, value)                                           \
    WITH(SDM_WIRE_WELCOME, sdm_wire_welcome, field, value)

static void test_hello_fields(void **state)
{
    unsigned char buf[SDM_WIRE_MAX];
    struct sdm_msg m;
    int len;

    (void)state;
    assert_int_equal(HELLO(version_min, 0), -EBADMSG);
    assert_int_equal(HELLO(version_min, 4), -EBADMSG);
    assert_int_equal(HELLO(version_max, 0), -EBADMSG);
    assert_int_equal(HELLO(version_max, UINT16_MAX), 0);
    assert_int_equal(HELLO(role, 0), -EBADMSG);
    assert_int_equal(HELLO(role, 3), -EBADMSG);
    assert_int_equal(HELLO(role, SDM_ROLE_OBSERVER), -EBADMSG);
    assert_int_equal(HELLO(ram_size, 0), -EBADMSG);
    assert_int_equal(HELLO(ram_size, UINT64_MAX), -EBADMSG);
    assert_int_equal(HELLO(ram_base, UINT64_MAX), -EBADMSG);
    /* any: the hub refuses them by name */
    assert_int_equal(HELLO(want_id, 0), 0);
    assert_int_equal(HELLO(want_id, UINT32_MAX), 0);

    m = sample(SDM_WIRE_HELLO);
    m.u.hello.role = SDM_ROLE_OBSERVER;
    m.u.hello.ram_size = 0;
    m.u.hello.name[0] = 0;
    len = sdm_msg_encode(&m, buf);
    assert_int_equal(decode_untouched(buf, len, 0), 0);
}

static void test_welcome_fields(void **state)
{
    unsigned char buf[SDM_WIRE_MAX];
    struct sdm_msg m;
    int len;

    (void)state;
    assert_int_equal(WELCOME(version, 0), -EBADMSG);
    assert_int_equal(WELCOME(fds, 0x10), -EBADMSG);
    assert_int_equal(WELCOME(fds, 0x800f), -EBADMSG);
    assert_int_equal(WELCOME(id, 65), -EBADMSG);
    assert_int_equal(WELCOME(id, UINT32_MAX), -EBADMSG);
    assert_int_equal(WELCOME(num_slaves, 0), -EBADMSG);
    assert_int_equal(WELCOME(num_slaves, 2), -EBADMSG);
    assert_int_equal(WELCOME(num_slaves, SDM_MAX_SLAVES + 1), -EBADMSG);
    assert_int_equal(WELCOME(page_size, 0), -EBADMSG);
    assert_int_equal(WELCOME(page_size, 3 * MiB), -EBADMSG);
    assert_int_equal(WELCOME(memory_size, 0), -EBADMSG);
    assert_int_equal(WELCOME(memory_size, 512 * MiB), -EBADMSG);
    assert_int_equal(WELCOME(window_offset, 1024 * MiB), -EBADMSG);
    assert_int_equal(WELCOME(window_offset, UINT64_MAX), -EBADMSG);
    assert_int_equal(WELCOME(window_size, UINT64_MAX), -EBADMSG);
    assert_int_equal(WELCOME(window_size, 0), 0);

    /* an observer's: no memory, no fds */
    memset(&m, 0, sizeof(m));
    m.type = SDM_WIRE_WELCOME;
    m.u.welcome.version = 1;
    m.u.welcome.num_slaves = 1;
    len = sdm_msg_encode(&m, buf);
    assert_int_equal(decode_untouched(buf, len, 0), 0);
    /* a memory fd, but no memory */
    m.u.welcome.fds = SDM_WIRE_FD_MEMORY;
    len = sdm_msg_encode(&m, buf);
    assert_int_equal(decode_untouched(buf, len, 1), -EBADMSG);
}

static void test_other_fields(void **state)
{
    unsigned i;

    (void)state;
    assert_int_equal(WITH(SDM_WIRE_BOOT, sdm_wire_boot, size, 0), -EBADMSG);
    assert_int_equal(WITH(SDM_WIRE_BOOT, sdm_wire_boot, size, UINT64_MAX),
                     -EBADMSG);
    assert_int_equal(WITH(SDM_WIRE_BOOT, sdm_wire_boot, offset, UINT64_MAX),
                     -EBADMSG);

    assert_int_equal(WITH(SDM_WIRE_DTB, sdm_wire_dtb, size, 0), -EBADMSG);

    for (i = 0; i < SDM_STATES + 2; i++) {
        assert_int_equal(WITH(SDM_WIRE_STATE, sdm_wire_state, state, i),
                         i == SDM_STATE_WAITING || i == SDM_STATE_RUNNING ||
                         i == SDM_STATE_STOPPED || i == SDM_STATE_CRASHED ?
                         0 : -EBADMSG);
    }
    assert_int_equal(WITH(SDM_WIRE_STATE, sdm_wire_state, reserved, 1),
                     -EBADMSG);

    assert_int_equal(WITH(SDM_WIRE_PEER, sdm_wire_peer, id, 0), 0);
    assert_int_equal(WITH(SDM_WIRE_PEER, sdm_wire_peer, id,
                          SDM_MAX_SLAVES + 1), -EBADMSG);
    assert_int_equal(WITH(SDM_WIRE_PEER, sdm_wire_peer, state, SDM_STATES),
                     -EBADMSG);

    assert_int_equal(WITH(SDM_WIRE_ANSWER, sdm_wire_answer, status, SDM_OK),
                     0);
    assert_int_equal(WITH(SDM_WIRE_ANSWER, sdm_wire_answer, status, SDM_ERRS),
                     -EBADMSG);
    assert_int_equal(WITH(SDM_WIRE_ERROR, sdm_wire_answer, status, SDM_OK),
                     -EBADMSG);
    for (i = 0; i < 40; i++) {
        assert_int_equal(WITH(SDM_WIRE_ANSWER, sdm_wire_answer, text_length,
                              i), i == 12 ? 0 : -EMSGSIZE);
    }
    assert_int_equal(WITH(SDM_WIRE_ANSWER, sdm_wire_answer, text_length,
                          SDM_WIRE_TEXT_MAX + 1), -EBADMSG);
    assert_int_equal(WITH(SDM_WIRE_ANSWER, sdm_wire_answer, text_length,
                          UINT32_MAX), -EBADMSG);
}

static void assert_name(const char *bytes, size_t len, int expected)
{
    static const struct {
        uint16_t type;
        size_t offset;
    } in[] = {
        { SDM_WIRE_HELLO, offsetof(struct sdm_wire_hello, name) },
        { SDM_WIRE_PEER, offsetof(struct sdm_wire_peer, name) },
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(in); i++) {
        unsigned char buf[SDM_WIRE_MAX];
        struct sdm_msg m = sample(in[i].type);
        int n = sdm_msg_encode(&m, buf);

        memset(buf + in[i].offset, 0, SDM_NAME_MAX + 1);
        memcpy(buf + in[i].offset, bytes, len);
        assert_int_equal(decode_untouched(buf, n, 0), expected);
    }
}

static void test_names(void **state)
{
    char name[SDM_NAME_MAX + 2];
    unsigned c;

    (void)state;
    memset(name, 'x', sizeof(name));
    assert_name(name, SDM_NAME_MAX, 0);
    assert_name(name, SDM_NAME_MAX + 1, -EBADMSG);  /* not terminated */
    assert_name("", 0, 0);
    assert_name("a b", 3, -EBADMSG);

    /* what stands behind the end is not passed on */
    {
        unsigned char buf[SDM_WIRE_MAX];
        struct sdm_msg m = sample(SDM_WIRE_HELLO), out;
        int n = sdm_msg_encode(&m, buf);
        size_t i;

        memcpy(buf + offsetof(struct sdm_wire_hello, name), "ab\0\x1b[2J", 7);
        assert_int_equal(sdm_msg_decode(&out, buf, n, 0), 0);
        assert_string_equal(out.u.hello.name, "ab");
        for (i = 2; i < sizeof(out.u.hello.name); i++) {
            assert_int_equal(out.u.hello.name[i], 0);
        }
    }

    assert_false(sdm_name_ok(""));
    name[SDM_NAME_MAX + 1] = 0;
    assert_false(sdm_name_ok(name));
    name[SDM_NAME_MAX] = 0;
    assert_true(sdm_name_ok(name));
    for (c = 1; c < 256; c++) {
        char one[2] = { (char)c, 0 };
        int ok = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                 (c >= 'a' && c <= 'z') || c == '.' || c == '_' || c == '-';

        assert_int_equal(!!sdm_name_ok(one), ok);
    }
}

static void assert_text(const char *bytes, size_t len, const char *expected)
{
    unsigned char buf[SDM_WIRE_MAX];
    struct sdm_msg m = sample(SDM_WIRE_ANSWER), out;
    struct sdm_wire_answer w;

    sdm_msg_encode(&m, buf);
    memcpy(&w, buf, sizeof(w));
    w.header.length = sdm_to_le32(sizeof(w) + len);
    w.text_length = sdm_to_le32(len);
    memcpy(buf, &w, sizeof(w));
    memcpy(buf + sizeof(w), bytes, len);
    assert_int_equal(sdm_msg_decode(&out, buf, sizeof(w) + len, 0), 0);
    assert_string_equal(out.u.answer.text, expected);
    assert_int_equal(strlen(out.u.answer.text), len);
}

#define TEXT(bytes, expected)  assert_text(bytes, sizeof(bytes) - 1, expected)

static void test_text(void **state)
{
    char longest[SDM_WIRE_TEXT_MAX + 1];

    (void)state;
    TEXT("", "");
    TEXT("all is well", "all is well");
    TEXT("a\0b", "a?b");
    TEXT("a\nb\tc\x1b[2J\x7f", "a?b?c?[2J?");
    TEXT("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
         "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
    TEXT("\xc2\x9b" "2J", "??2J");              /* a C1 control */
    TEXT("\xc2\xa0", "\xc2\xa0");
    TEXT("\xc3", "?");                          /* cut */
    TEXT("\xe2\x82", "??");
    TEXT("\xf0\x9f\x98", "???");
    TEXT("\xc3(", "?(");                        /* no continuation */
    TEXT("\x80\xbf", "??");                     /* only continuations */
    TEXT("\xc0\xaf\xc1\xbf", "????");           /* overlong */
    TEXT("\xe0\x80\xaf", "???");
    TEXT("\xf0\x80\x80\xaf", "????");
    TEXT("\xed\xa0\x80", "???");                /* surrogate */
    TEXT("\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80");
    TEXT("\xf4\x90\x80\x80", "????");           /* above U+10FFFF */
    TEXT("\xf8\xff\xfe", "???");

    memset(longest, 't', sizeof(longest));
    longest[SDM_WIRE_TEXT_MAX] = 0;
    assert_text(longest, SDM_WIRE_TEXT_MAX, longest);
}

/* A text of the greatest length fits in a message and comes back whole. */
static void test_longest_text(void **state)
{
    unsigned char buf[SDM_WIRE_MAX];
    struct sdm_msg m = sample(SDM_WIRE_ERROR), out;
    int len;

    (void)state;
    memset(m.u.answer.text, 't', SDM_WIRE_TEXT_MAX);
    m.u.answer.text[SDM_WIRE_TEXT_MAX] = 0;
    len = sdm_msg_encode(&m, buf);
    assert_int_equal(len, sizeof(struct sdm_wire_answer) + SDM_WIRE_TEXT_MAX);
    assert_int_equal(sdm_msg_decode(&out, buf, len, 0), 0);
    assert_memory_equal(&m, &out, sizeof(m));
}

/*
 * Damaged messages: whatever is accepted is a message that encodes and decodes
 * to itself. The seed is fixed: a failure comes again.
 */
static void test_damage(void **state)
{
    uint32_t random = 1;
    unsigned i, accepted = 0;

    (void)state;
    for (i = 0; i < 200000; i++) {
        unsigned char buf[SDM_WIRE_MAX], again[SDM_WIRE_MAX];
        struct sdm_msg m, a, b;
        unsigned flips, f;
        int len, len2;

        random = random * 1664525 + 1013904223;
        m = sample(1 + (random >> 16) % (SDM_WIRE_TYPES - 1));
        len = sdm_msg_encode(&m, buf);
        flips = 1 + (random >> 8) % 3;
        for (f = 0; f < flips; f++) {
            random = random * 1664525 + 1013904223;
            buf[(random >> 16) % len] ^= 1u << (random >> 13) % 8;
        }
        if (sdm_msg_decode(&a, buf, len, sample_fds(m.type)) == 0) {
            accepted++;
            len2 = sdm_msg_encode(&a, again);
            assert_int_equal(len2, len);
            assert_int_equal(sdm_msg_decode(&b, again, len2,
                                            sample_fds(m.type)), 0);
            assert_memory_equal(&a, &b, sizeof(a));
        }
    }
    assert_true(accepted > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_encode_unknown),
        cmocka_unit_test(test_encode_padding),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_fds),
        cmocka_unit_test(test_bad_header),
        cmocka_unit_test(test_hello_fields),
        cmocka_unit_test(test_welcome_fields),
        cmocka_unit_test(test_other_fields),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_longest_text),
        cmocka_unit_test(test_damage),
    };

    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
