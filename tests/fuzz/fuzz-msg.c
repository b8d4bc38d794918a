/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One packet of the control socket. Input: number of fds (1 byte), the packet.
 * What decodes is in range, and means the same when it is sent on.
 */
#include "sdm/sdm-codec.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "msg";

static void check_name(const char *name)
{
    CHECK(memchr(name, 0, SDM_NAME_MAX + 1));
    CHECK(!name[0] || sdm_name_ok(name));
}

static void check_text(const char *text)
{
    CHECK(memchr(text, 0, SDM_WIRE_TEXT_MAX + 1));
    for (; *text; text++) {
        CHECK((unsigned char)*text >= 0x20 && *text != 0x7f);
    }
}

static void check_range(const struct sdm_msg *m, unsigned nfds)
{
    unsigned want = 0;

    CHECK(m->type > 0 && m->type < SDM_WIRE_TYPES);
    switch (m->type) {
    case SDM_WIRE_HELLO:
        check_name(m->u.hello.name);
        CHECK(m->u.hello.version_min <= m->u.hello.version_max);
        CHECK(m->u.hello.role == SDM_ROLE_SLAVE ||
              m->u.hello.role == SDM_ROLE_OBSERVER);
        CHECK((m->u.hello.role == SDM_ROLE_SLAVE) ==
              (m->u.hello.ram_size != 0));
        break;
    case SDM_WIRE_WELCOME:
        want = __builtin_popcount(m->u.welcome.fds);
        CHECK(want <= SDM_WIRE_MAX_FDS);
        CHECK(m->u.welcome.num_slaves <= SDM_MAX_SLAVES);
        CHECK(m->u.welcome.id <= m->u.welcome.num_slaves);
        CHECK(m->u.welcome.window_offset + m->u.welcome.window_size <=
              m->u.welcome.memory_size);
        break;
    case SDM_WIRE_BOOT:
        CHECK(m->u.boot.size);
        CHECK(m->u.boot.offset + m->u.boot.size > m->u.boot.offset);
        break;
    case SDM_WIRE_ERROR:
        CHECK(m->u.answer.status != SDM_OK);
        /* fall through */
    case SDM_WIRE_ANSWER:
        CHECK(m->u.answer.status < SDM_ERRS);
        check_text(m->u.answer.text);
        break;
    case SDM_WIRE_DTB:
        CHECK(m->u.dtb.size);
        want = 1;
        break;
    case SDM_WIRE_STATE:
        CHECK(m->u.state.state < SDM_STATES);
        CHECK(m->u.state.state != SDM_STATE_ABSENT);
        CHECK(m->u.state.state != SDM_STATE_BOOTING);
        break;
    case SDM_WIRE_PEER:
        CHECK(m->u.peer.id <= SDM_MAX_SLAVES);
        CHECK(m->u.peer.state < SDM_STATES);
        check_name(m->u.peer.name);
        break;
    }
    CHECK(nfds == want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    unsigned nfds = input_u8(&in) % (SDM_WIRE_MAX_FDS + 2);
    uint8_t once[SDM_WIRE_MAX], twice[SDM_WIRE_MAX];
    struct sdm_msg m, untouched;
    const uint8_t *packet;
    size_t len;
    int n;

    packet = input_rest(&in, SIZE_MAX, &len);
    memset(&m, 0x5a, sizeof(m));
    memset(&untouched, 0x5a, sizeof(untouched));
    if (sdm_msg_decode(&m, packet, len, nfds)) {
        CHECK(memcmp(&m, &untouched, sizeof(m)) == 0);
        return 0;
    }
    check_range(&m, nfds);

    n = sdm_msg_encode(&m, once);
    CHECK(n >= 0 && (size_t)n == len);
    CHECK(sdm_msg_decode(&m, once, n, nfds) == 0);
    CHECK(sdm_msg_encode(&m, twice) == n);
    CHECK(memcmp(once, twice, n) == 0);
    return 0;
}
