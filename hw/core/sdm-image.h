/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boot images: what is loaded from a file at start costs no memory.
 *
 * Theory of operation: an image is a part of a file, with an address. Its
 * descriptor is kept, its bytes are not: they are read from it straight into
 * the guest's memory when the machine starts, and at each reset. So QEMU holds
 * no copy, all instances share the file in the page cache, and a file that is
 * unlinked or replaced stays what it was. Packed images are unpacked straight
 * to their destination when they are added, as only that tells their size,
 * and again at each reset.
 *
 * An image is mapped only where something needs a pointer: ELF headers while
 * they are read, and what fw_cfg hands to the firmware. image-map=private maps
 * those pages of the file that lie right in the guest's memory too.
 *
 * What cannot be kept safe by that is a file that changes in place. Its size
 * and time are compared before it is read again. On a difference the machine
 * is stopped, and continues only after a reset that finds the file right.
 * Pages that are mapped are watched by sdm-filemap: of a truncated file, zeros
 * come in place of a SIGBUS, and the machine is stopped.
 *
 * The ROM list of hw/core/loader.c stays what orders images, finds overlaps and
 * answers "info roms"; its entries for images have no data. Rejected: handlers
 * of their own for each kind, as the series of 2013 had them (they bypass the
 * checks for overlaps and for incoming migration); mapping all files for ever
 * (a truncated one is a SIGBUS, and each instance pays page tables).
 *
 * All functions: main thread, big lock held.
 */
#ifndef HW_CORE_SDM_IMAGE_H
#define HW_CORE_SDM_IMAGE_H

#include "exec/hwaddr.h"
#include "exec/memory.h"
#include "qapi/qapi-types-sdm-image.h"

/** struct SdmImage - one image, or one program header of an ELF image */
typedef struct SdmImage SdmImage;

/** sdm_image_machine_class_init() - add image-reload= and image-map= */
void sdm_image_machine_class_init(ObjectClass *oc);

/**
 * sdm_image_new() - a part of a file becomes an image
 * @path:   name of the file, for messages and lists
 * @fd:     the file, open for reading; stays the caller's
 * @offset: where in the file the image begins
 * @size:   its bytes in the file
 *
 * Its kind is found out from its first bytes. The caller hands it to
 * rom_add_image(), or gives it back with sdm_image_free().
 *
 * Return: the image; NULL if @fd is no regular file, or too short
 */
SdmImage *sdm_image_new(const char *path, int fd, off_t offset, size_t size);

/** sdm_image_open() - the whole of a file as an image, or NULL */
SdmImage *sdm_image_open(const char *path);

/** sdm_image_set_phdr() - it is program header @phdr of an ELF file */
void sdm_image_set_phdr(SdmImage *image, int phdr);

/** sdm_image_set_uimage() - it has (or is behind) the header of U-Boot */
void sdm_image_set_uimage(SdmImage *image, bool packed);

/** sdm_image_free() - forget an image; NULL is allowed */
void sdm_image_free(SdmImage *image);

/**
 * sdm_image_head() - the first bytes of an image, unpacked
 *
 * Return: how many of @size bytes were put into @head, or -1
 */
ssize_t sdm_image_head(SdmImage *image, void *head, size_t size);

/**
 * sdm_image_unpack() - find the size of a packed image, by unpacking it to
 * its destination
 * @as:   NULL for the system's address space
 * @addr: where it is going to be
 * @max:  the most bytes that it may have
 *
 * An image that is not packed is left alone. One that cannot be unpacked is an
 * error that ends QEMU: this is its start.
 *
 * Return: its size
 */
size_t sdm_image_unpack(SdmImage *image, AddressSpace *as, hwaddr addr,
                        size_t max);

/**
 * sdm_image_take() - the bytes of an image, on the heap; from now on the
 * caller is who loads it
 *
 * Return: the bytes, to be freed with g_free(); NULL if the image needs no
 * more loading, as its ROM has been written. Ends QEMU if the file cannot be
 * read at start.
 */
uint8_t *sdm_image_take(SdmImage *image);

/** sdm_image_stays() - is it in the guest's memory, and to be left alone? */
bool sdm_image_stays(const SdmImage *image);

/** sdm_image_released() - what sdm_image_take() gave was freed */
void sdm_image_released(SdmImage *image);

/**
 * sdm_image_read() - copy up to @size of an image's first bytes to @dest
 *
 * Return: as many as there were, or -1
 */
ssize_t sdm_image_read(SdmImage *image, void *dest, size_t size);

/**
 * sdm_image_place() - where the image is to be loaded at each reset
 * @as:    address space, with @addr
 * @mr:    memory to be filled from its start, in place of @as and @addr
 * @size:  bytes to fill; those that the image does not have become zeros
 * @once:  it is ROM: nobody changes it, and a migration brings it
 * @data:  if it is NULL and image-reload=copy is given, becomes what
 *         sdm_image_take() returns
 */
void sdm_image_place(SdmImage *image, AddressSpace *as, MemoryRegion *mr,
                     hwaddr addr, size_t size, bool once, uint8_t **data);

/** sdm_image_register_reset() - after the last sdm_image_place() */
void sdm_image_register_reset(void);

/**
 * sdm_image_map() - map a file's part for somebody who needs a pointer to it
 * for ever, such as fw_cfg; the file is checked at each reset
 * @path:   the file
 * @offset: where the part begins
 * @size:   in: its size, or 0 for all up to the end; out: its size
 *
 * Return: the bytes, not to be written to (a copy with image-reload=copy);
 * NULL if @path is no regular file or too short
 */
void *sdm_image_map(const char *path, off_t offset, size_t *size);

/** sdm_image_map_addr() - the firmware will put what is at @data there */
void sdm_image_map_addr(const void *data, hwaddr addr);

/**
 * sdm_image_note() - list a file whose bytes somebody else loads
 * @path: NULL: nothing is to be listed
 * @addr: -1 if only the firmware knows
 * @data: where they are kept, for ever or until sdm_image_released(); NULL if
 *        they are not
 */
SdmImage *sdm_image_note(const char *path, BootImageKind kind, hwaddr addr,
                         size_t size, const void *data);

/** sdm_image_broken() - must the machine not run, because of a file? */
bool sdm_image_broken(void);

#endif /* HW_CORE_SDM_IMAGE_H */
