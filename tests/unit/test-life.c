/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"
#include <errno.h>
#include "sdm/sdm-life.h"
#include "sdm/wire.h"

/*
 * The whole table, written down a second time: a change of the lifecycle must
 * be made in two places. A state's letter, or '.' for "cannot happen".
 */
static const char letters[SDM_STATES] = {
    [SDM_STATE_ABSENT] = 'a',
    [SDM_STATE_WAITING] = 'w',
    [SDM_STATE_BOOTING] = 'b',
    [SDM_STATE_RUNNING] = 'r',
    [SDM_STATE_STOPPED] = 's',
    [SDM_STATE_CRASHED] = 'c',
};

/* join, boot, boot ok, boot failed, said: waiting running stopped crashed,
   lost */
static const char *const table[SDM_STATES] = {
    [SDM_STATE_ABSENT] =  "w........",
    [SDM_STATE_WAITING] = ".b.wwrsca",
    [SDM_STATE_BOOTING] = "..rwwr..a",
    [SDM_STATE_RUNNING] = "..r.wrsca",
    [SDM_STATE_STOPPED] = "....wrs.a",
    [SDM_STATE_CRASHED] = "....wrcca",
};

static void test_next(void **state)
{
    unsigned s, e;

    (void)state;
    for (s = 0; s < SDM_STATES; s++) {
        for (e = 0; e < SDM_LIFE_EVENTS; e++) {
            int next = sdm_life_next(s, e);

            if (table[s][e] == '.') {
                assert_int_equal(next, -EPROTO);
            } else {
                assert_in_range(next, 0, SDM_STATES - 1);
                assert_int_equal(letters[next], table[s][e]);
            }
        }
    }
}

static void test_next_out_of_range(void **state)
{
    (void)state;
    assert_int_equal(sdm_life_next(SDM_STATES, SDM_LIFE_LOST), -EPROTO);
    assert_int_equal(sdm_life_next(UINT32_MAX, SDM_LIFE_JOIN), -EPROTO);
    assert_int_equal(sdm_life_next(SDM_STATE_RUNNING, SDM_LIFE_EVENTS),
                     -EPROTO);
}

static void test_may(void **state)
{
    static const struct {
        uint16_t request;
        const char *allowed;
    } requests[] = {
        { SDM_WIRE_BOOT, "w" },
        { SDM_WIRE_RESET, "brsc" },
        { SDM_WIRE_STOP, "r" },
        { SDM_WIRE_GET_DTB, "wbrsc" },
        { SDM_WIRE_ANSWER, "" },
        { 0, "" },
    };
    unsigned i, s;

    (void)state;
    for (i = 0; i < ARRAY_SIZE(requests); i++) {
        assert_int_equal(sdm_life_may(SDM_STATE_ABSENT, requests[i].request),
                         SDM_ERR_NO_PEER);
        assert_int_equal(sdm_life_may(SDM_STATES, requests[i].request),
                         SDM_ERR_NO_PEER);
        for (s = SDM_STATE_WAITING; s < SDM_STATES; s++) {
            const char *p = requests[i].allowed;

            while (*p && *p != letters[s]) {
                p++;
            }
            assert_int_equal(sdm_life_may(s, requests[i].request),
                             *p ? SDM_OK : SDM_ERR_STATE);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_next_out_of_range),
        cmocka_unit_test(test_may),
    };

    return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
