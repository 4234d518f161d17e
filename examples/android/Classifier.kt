// A classifier of `casvit-mm export CKPT --format litert` in an Android app.
//
// NOT EXECUTED: written against the documented interface of LiteRT's Interpreter, and never compiled.
// If something in it is wrong, an issue with the message is welcome.
//
// build.gradle.kts: implementation("com.google.ai.edge.litert:litert:2.1.0")
// The model is an asset that is copied to a file first: its description is a zip archive at its end.

package casvit

import android.graphics.Bitmap
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipFile
import org.json.JSONObject
import org.tensorflow.lite.Interpreter

class Classifier(file: File, threads: Int = 4) : AutoCloseable {
    private val description = ZipFile(file).use { archive ->
        val entry = archive.getEntry("casvit_mm.json")
            ?: throw IllegalArgumentException("$file was not written by casvit-mm export")
        JSONObject(archive.getInputStream(entry).bufferedReader().readText())
    }
    private val interpreter = Interpreter(file, Interpreter.Options().setNumThreads(threads))
    private val names = description.getJSONArray("classes")
    private val height = description.getJSONArray("size").getInt(0)
    private val width = description.getJSONArray("size").getInt(1)

    init {
        require(description.getString("task") == "classification") { "$file is no classifier" }
        require(description.getString("preprocess") == "inside") { "export without --preprocess" }
    }

    // Returns the best class and its probability. The steps by which the training's test pipeline
    // resizes are in `description.getJSONArray("steps")`; a plain resize stands for them here.
    fun classify(photo: Bitmap): Pair<String, Float> {
        val scaled = Bitmap.createScaledBitmap(photo, width, height, true)
        val pixels = IntArray(width * height)
        scaled.getPixels(pixels, 0, width, 0, 0, width, height)
        // (1, 3, H, W), uint8, blue first.
        val input = ByteBuffer.allocateDirect(3 * pixels.size).order(ByteOrder.nativeOrder())
        for (shift in intArrayOf(0, 8, 16)) {
            for (pixel in pixels) input.put((pixel shr shift and 0xff).toByte())
        }
        input.rewind()
        val scores = Array(1) { FloatArray(names.length()) }
        interpreter.run(input, scores)
        val best = scores[0].indices.maxByOrNull { scores[0][it] }!!
        return names.getString(best) to scores[0][best]
    }

    override fun close() = interpreter.close()
}
