/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every contract header needs: fixed-width little-endian types, compile
 * time checks, byte order. Compiles in userland C11, in the Linux kernel and
 * freestanding (bare metal), and includes nothing but <stdint.h>/<stddef.h>
 * or the kernel's own types.
 */
#ifndef SDM_BASE_H
#define SDM_BASE_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/stddef.h>
#include <linux/build_bug.h>
#else
#include <stddef.h>
#include <stdint.h>
#endif

/* A field that is little-endian in memory, whatever the machine. */
typedef uint16_t sdm_le16;
typedef uint32_t sdm_le32;
typedef uint64_t sdm_le64;

#ifdef __KERNEL__
#define SDM_STATIC_ASSERT(cond, msg) static_assert(cond, msg)
#elif defined(__cplusplus)
#define SDM_STATIC_ASSERT(cond, msg) static_assert(cond, msg)
#else
#define SDM_STATIC_ASSERT(cond, msg) _Static_assert(cond, msg)
#endif

#define SDM_ASSERT_OFFSET(type, field, off)                             \
    SDM_STATIC_ASSERT(offsetof(type, field) == (off),                   \
                      #type "." #field " moved")
#define SDM_ASSERT_SIZE(type, size)                                     \
    SDM_STATIC_ASSERT(sizeof(type) == (size), #type " changed size")

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
static inline uint16_t sdm_le16_swap(uint16_t v)
{
    return __builtin_bswap16(v);
}
static inline uint32_t sdm_le32_swap(uint32_t v)
{
    return __builtin_bswap32(v);
}
static inline uint64_t sdm_le64_swap(uint64_t v)
{
    return __builtin_bswap64(v);
}
#else
static inline uint16_t sdm_le16_swap(uint16_t v) { return v; }
static inline uint32_t sdm_le32_swap(uint32_t v) { return v; }
static inline uint64_t sdm_le64_swap(uint64_t v) { return v; }
#endif

/* Host value to field and field to host value; the two are one operation. */
#define sdm_to_le16(v)   sdm_le16_swap(v)
#define sdm_to_le32(v)   sdm_le32_swap(v)
#define sdm_to_le64(v)   sdm_le64_swap(v)
#define sdm_from_le16(v) sdm_le16_swap(v)
#define sdm_from_le32(v) sdm_le32_swap(v)
#define sdm_from_le64(v) sdm_le64_swap(v)

#endif /* SDM_BASE_H */
